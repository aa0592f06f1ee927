"""Runs ``python -m supervisor.cli.main ARGUMENTS`` with shorter limits in root."""

import sys

from supervisor.cli.main import main
from supervisor.root import premises, template_keeper
from supervisor.shell import nested_process, recycles

nested_process.SUSPENDED_LIMIT = 0.3
template_keeper.SUSPENDED_LIMIT = 0.3
recycles.SOAK = 0.3
premises.INTERVAL = 0.3

if __name__ == "__main__":
    sys.argv = sys.argv[3:]  # less python -m
    sys.exit(main())
