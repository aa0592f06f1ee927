"""Where in its life a process is."""

from enum import Enum


class Phase(Enum):
    """Where in its life a process is."""

    STARTING = "starting"
    READY = "ready"
    GONE = "gone"
