"""An app that starts a thread when it is imported."""

import os
import signal
import threading

from supervisor import Child, Supervisor

helper = threading.Thread(target=threading.Event().wait, name="pool-of-the-app", daemon=True)
helper.start()


def live() -> None:
    """Tell whether the thread is here."""
    print("alive", os.getpid(), helper.is_alive(), flush=True)
    while True:
        signal.pause()


tree = Supervisor("threaded", [Child("one", live, count=2), Child("two", live, preload=False)])
