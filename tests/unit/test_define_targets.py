"""What is called and never run is refused with the tree: it would look like work that is done."""

from collections.abc import Iterator

import pytest

from supervisor import Child, Supervisor, recycle
from supervisor.declare.define import define
from supervisor.errors import DefinitionError
from workers import Worker


def refused(tree: Supervisor) -> DefinitionError:
    """Define a tree that is wrong, and return the error."""
    with pytest.raises(DefinitionError) as caught:
        define(tree)
    return caught.value


def test_a_generator_function_is_no_target() -> None:
    """It would be called, and nothing of it run; nor would what nobody awaits."""

    def produce() -> Iterator[int]:
        yield 1

    async def purge() -> int:
        return 1

    for tree in (
        Supervisor("s", [Child("a", produce)]),
        Supervisor("s", recyclers=[recycle()(produce)]),
    ):
        assert '"produce" has a yield: it would never be run' in refused(tree).problem
    error = refused(Supervisor("s", recyclers=[recycle()(purge)]))
    assert '"purge" is async def: nobody would await it' in error.problem


@pytest.mark.parametrize("method", ["init", "run", "terminate"])
def test_the_methods_of_a_worker_are_run_when_they_are_called(method: str) -> None:
    """async def run would be called, never awaited, and taken for a normal end."""

    async def work(_self: object) -> None:
        """Never run."""

    work.__qualname__ = f"Fetch.{method}"
    fetch = type("Fetch", (Worker,), {method: work})
    for target in (fetch, fetch()):
        problem = refused(Supervisor("s", [Child("a", target)])).problem
        assert f'"Fetch.{method}" is async def: nobody would await it' in problem
