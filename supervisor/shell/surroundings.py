"""What every part of one supervisor process shares: its loop, templates, status board and log."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from supervisor.crashes.death import Word
from supervisor.descriptors import Exhaustion
from supervisor.loop import Loop
from supervisor.process.oom import OomKills
from supervisor.shell.levels import Levels
from supervisor.shell.obituaries import Obituaries
from supervisor.shell.slots import PipeSink
from supervisor.shell.starting import Starts
from supervisor.shell.status import Board
from supervisor.shell.templates import Template


class Log(Protocol):
    """Write one structured record: an event in words, and its fields."""

    def __call__(self, level: int, event: str, /, **fields: Any) -> None:
        """Write it; never raises, never blocks for long."""


@dataclass(slots=True)
class Shell:
    """The surroundings of the children of one process.

    ``runtime`` and ``release`` are templates.
    """

    loop: Loop
    app: str
    runtime: Template
    release: Template
    board: Board
    log: Log
    pipes: PipeSink | None
    pipes_gone: Callable[[str], None]
    process_up: Callable[[str, int, int, bool], None]  # path, pid, incarnation, whether it marks
    runtime_dir: str
    log_level: str = "INFO"
    fds: dict[str, int] = field(default_factory=dict)  # given to every worker ("queues")
    spares: int = 2  # kept of the release template
    marks: bool = False  # workers mark in their log pipes where their lines begin
    preload: bool = True  # False: the release template cannot fork (`supervisor.root.forking`)
    fresh: bool = True  # False: this supervisor was restarted; its first starts are restarts too
    more_starts: Callable[[int], None] | None = None  # None: this is root, and has the bucket
    say_death: Callable[[Word], bool] = lambda _word: True  # towards who writes crash reports
    levels: Levels = field(default_factory=Levels)  # log levels changed at run time
    oom_kills: OomKills = field(init=False)
    exhaustion: Exhaustion = field(init=False)  # of descriptors
    starts: Starts = field(init=False)
    obituaries: Obituaries = field(init=False)

    def __post_init__(self) -> None:
        self.oom_kills = OomKills(os.path.join(self.runtime_dir, "oom"))
        self.exhaustion = Exhaustion(self.log)
        noticed = self.exhaustion.noticed
        self.starts = Starts(self.loop, self.log, self.more_starts, noticed)
        self.obituaries = Obituaries(self.loop, self.say_death)

    def replace_release(self, successor: Template) -> None:
        """Fork from another template of the release from now on; the one before lingers."""
        old, self.release = self.release, successor
        successor.take_over(old)


DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
