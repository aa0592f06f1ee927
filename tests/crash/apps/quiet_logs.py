"""An app that declares how its logs are kept: warnings only, in a directory of its own."""

import logging
import os

from supervisor import Child, Logs, Supervisor
from workers import Worker


class Talk(Worker):
    """Says something of each level."""

    def run(self) -> None:
        """Say it, and wait."""
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logging.getLogger("talk").log(level, "said at %d", level)
        self.link.wait(1e6)


tree = Supervisor(
    "quiet",
    logs=Logs(os.environ["LOGS"], max_use="4MiB", compress=False, level="warning"),
    children=[Child("talk", Talk)],
)
