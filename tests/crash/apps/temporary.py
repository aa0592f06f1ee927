"""Workers that say which temp directory they have, and leave something in it."""

import os
import sys
import tempfile
from pathlib import Path

from supervisor import Child, Supervisor
from workers import Worker

tempfile.gettempdir()  # by a library, as it is imported: it must not stay


class Untidy(Worker):
    """Leaves a file behind."""

    def init(self) -> None:
        """Say where it is."""
        directory = tempfile.mkdtemp()
        (Path(directory) / "data").write_bytes(b"x" * 100_000)
        print("temp", os.environ.get("TMPDIR"), os.path.dirname(directory))

    def run(self) -> None:
        """Wait."""
        self.link.wait(1e6)


class Hoarder(Untidy):
    """Keeps much in it; its successors do not."""

    def init(self) -> None:
        """Write it once."""
        super().init()
        mark = Path(os.environ["CHOSEN"]) / "hoarded"
        if not mark.exists():
            mark.touch()
            (Path(tempfile.gettempdir()) / "hoard").write_bytes(b"x" * 2_000_000)


SAY = "import os, signal; print('temp', os.environ.get('TMPDIR'), flush=True); signal.pause()"

tree = Supervisor(
    "temporary",
    intensity=100,
    children=[
        Child("own", Untidy, count=2),
        Child("systems", Untidy, private_tmp=False),
        Child("chosen", Untidy, env={"TMPDIR": os.environ["CHOSEN"]}),
        Child("program", command=[sys.executable, "-c", SAY]),
        Supervisor("inner", [Child("own", Untidy)]),
    ],
)

hoarding = Supervisor(
    "hoarding",
    intensity=0,
    children=[
        Child("hoarder", Hoarder, max_temp="1MiB", min_lifetime=0.5),
        Child("unlimited", Untidy, min_lifetime=0.5),
    ],
)
