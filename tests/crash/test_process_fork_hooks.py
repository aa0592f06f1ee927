"""Which fork hooks a template's own forks skip, and who has them all the same."""

import subprocess
import sys

import pytest

PROGRAM = """
import os
from supervisor.process import fork_hooks

def hook(name):
    return lambda: os.write(1, name)

with fork_hooks.skippable():
    os.register_at_fork(before=hook(b"b"), after_in_parent=hook(b"p"), after_in_child=hook(b"c"))
os.register_at_fork(before=hook(b"x"))
{}
"""


def written(forks: str) -> str:
    """Run the program and return what its hooks wrote, sorted."""
    program = [sys.executable, "-c", PROGRAM.format(forks)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    return "".join(sorted(done.stdout))


WORKERS_FORK = """
if not fork_hooks.fork():
    if os.fork(): os.wait()
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize(
    ("forks", "expected"),
    [
        ("if not fork_hooks.fork(): os._exit(0)\nos.wait()", "x"),
        ("if not os.fork(): os._exit(0)\nos.wait()", "bcpx"),
        (WORKERS_FORK, "bcpxx"),
    ],
    ids=["its own fork", "another one", "one of its worker's"],
)
def test_only_the_templates_own_forks_skip_hooks(forks: str, expected: str) -> None:
    """Hooks that were registered as skippable run in every fork but `fork_hooks.fork`."""
    assert written(forks) == expected
