"""`logs -f`: the lines that there are, and then those that come, each once."""

import json
from pathlib import Path

import pytest

from supervisor.cli.following import Following
from supervisor.logs.entry import Wanted
from supervisor.logs.record import timestamp
from supervisor.logs.shelf import Shelf

#: Not to be reached by any clock: lines of then are newer than the beginning of the following.
THEN = 4e9


class Enough(Exception):  # noqa: N818 - it is no error
    """What is wanted was seen."""


@pytest.mark.parametrize(("limit", "seen"), [(2, "3 4 5"), (None, "0 1 1 2 3 4 5"), (0, "2 3 4 5")])
def test_each_line_is_shown_once_and_none_that_is_older_than_the_last(
    tmp_path: Path, limit: int | None, seen: str
) -> None:
    """Two lines of the same time and text are two; some came while the first were read."""
    shelf = Shelf(str(tmp_path), "shop/a")
    path = tmp_path / "shop/a/current.jsonl"
    path.parent.mkdir(parents=True)

    def write(number: int) -> None:
        with open(path, "a") as file:
            file.write(json.dumps({"time": timestamp(THEN + number), "event": str(number)}) + "\n")

    write(0)
    write(1)
    write(1)
    matches = Wanted().matcher()
    following = Following(str(tmp_path), (), [shelf])
    write(2)
    write(3)
    before = list(shelf.all())[-limit if limit else 0 :] if limit != 0 else []
    write(4)
    found = [line.event for line in following.join(before, matches, limit)]
    write(5)

    def look() -> None:
        if found[-1] == "5":
            raise Enough

    with pytest.raises(Enough):
        following.run(matches, lambda line: found.append(line.event), look)
    assert " ".join(found) == seen
