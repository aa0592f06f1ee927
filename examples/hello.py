"""The smallest tree: one worker that crashes every second, and is started again.

Run: supervisor run examples.hello:tree
See: "hello from PID", a ZeroDivisionError, the supervisor's report, and hello from the next PID;
     the fourth crash within five seconds ends the app with exit code 70.
"""

import os
import time

from supervisor import Child, Supervisor


def work() -> None:
    print(f"hello from {os.getpid()}")
    time.sleep(1)
    print(1 / 0)


tree = Supervisor("hello", [Child("work", work)], intensity=3, period=5)
