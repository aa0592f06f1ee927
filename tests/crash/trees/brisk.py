"""Runs ``python -m supervisor.cli.main ARGUMENTS`` with an arbiter that is in a hurry.

It looks five times a second, at ten times the cost it may have, and does not wait long for what it
has ordered; and what replaces another has to prove itself for less long. Nothing is decided in
another way.

The arbiter and nested supervisors are forks of the runtime's template: that imports this, too.
"""

import os
import sys
from pathlib import Path

from supervisor.core import recycle, template_turn
from supervisor.recycling import arbiter
from supervisor.shell import recycles

arbiter.CLOSE = arbiter.NUDGED = arbiter.REPORT_EVERY = 0.2
arbiter.COST_FACTOR = 10.0
recycle.TRIM_WAIT = 0.5
recycle.HARD_PATIENCE = 1.0
recycle.LEAST_SPACING = 0.2
template_turn.SETTLED = 1.0
#: Seconds; more where a replacement has to die of itself within them.
recycles.SOAK = float(os.environ.get("SOAK", "0.3"))

if __name__ == "__main__":
    from supervisor.cli.main import main
    from supervisor.root import template_keeper

    here = Path(__file__)
    template_keeper.RUNTIME += (here.stem,)
    paths = (str(here.parent), os.environ.get("PYTHONPATH"))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    sys.argv = sys.argv[3:]  # less python -m
    sys.exit(main())
