"""Workers that are restarted at once: each start is noted, and a second copy in a slot as well."""

import os
import signal

from marks import alone, path, quiet

from supervisor import Child, Supervisor


def noted() -> None:
    """Note that this process runs, as whom, then be alone until stopped."""
    alone(path())
    with open(os.environ["MARKS"] + "/starts", "a") as starts:
        starts.write(f"{path()} {os.getpid()}\n")
    print("alive", flush=True)
    while True:
        signal.pause()


def leaving() -> None:
    """End without a word, and with exit status 0, when told to."""
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))
    noted()


many = Supervisor("kin", [Child("w", noted, count=3)], intensity=1000)
twice = Supervisor("kin", [Child("w", noted, count=2)], intensity=2, period=3600)
silent = Supervisor("kin", [Child("w", leaving)], intensity=1000)
#: Whoever ends takes another one along: nobody has an heir.
group = Supervisor(
    "kin", [Child("w", noted), Child("x", quiet)], strategy="one_for_all", intensity=1000
)
nested = Supervisor(
    "kin", [Supervisor("inner", [Child("w", noted, count=2)], intensity=1000)], intensity=1000
)
