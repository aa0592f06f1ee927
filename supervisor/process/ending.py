"""An orderly end: threads are joined and exit hooks run, as at the end of a Python program.

After a fork that takes care. The hooks that the template has at that moment are its own: one that
removes a temporary directory of the app's would take it from all the other workers.
"""

import atexit
import sys
import threading


def forget_hooks() -> None:
    """Drop the exit hooks that came from the template; in the child, before anybody's code."""
    atexit._clear()
    multiprocessing = sys.modules.get("multiprocessing.util")
    if multiprocessing is not None:  # else it registers this itself, when it is imported
        atexit.register(multiprocessing._exit_function)


def finish() -> None:
    """Wait for the threads and children of multiprocessing, then run the hooks.

    Not after an exception: who has crashed is not to be waited for.
    """
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except SystemExit:  # asked to stop meanwhile
        pass
