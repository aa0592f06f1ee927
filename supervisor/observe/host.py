"""Where an app runs, for the health document: it does not change while it does."""

import os
import platform
import pwd
import socket
from typing import Any

from supervisor.recycling import machine


def facts() -> dict[str, Any]:
    """Return host, user, Python, system, processors and memory."""
    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    return {
        "host": socket.gethostname(),
        "user": user,
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()}",
        "cpus": len(os.sched_getaffinity(0)),
        "memory_limit_bytes": machine.total(),
    }
