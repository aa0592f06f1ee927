"""Replays recordings of Erlang/OTP's supervisor over the core.

    python -m tests.conformance.replay FILE.jsonl [--emit OUT.jsonl]

Prints every line that differs with its first difference; the last line is "N agree, M differ".
Exits with 0 only when none differs. A line without "expected" is run and emitted only.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.conformance.fake import FakeWorld
from tests.conformance.scenario import Scenario
from tests.conformance.world import World

Json = dict[str, Any]
COMPARED = ("ret", "events", "children", "sups", "reports")


def observe(scenario: Json, world: Callable[[], World] = FakeWorld) -> list[Json]:
    """Run a scenario in a world of its own."""
    return Scenario(scenario, world()).run()


def difference(expected: list[Json], observed: list[Json]) -> str | None:
    """The first difference, in words; None when all that is compared agrees."""
    for index, (want, got) in enumerate(zip(expected, observed, strict=False)):
        for key in COMPARED:
            default = [] if key == "reports" else None
            if want.get(key, default) != got.get(key, default):
                return f"observation {index}, {key}: {want.get(key)} expected, {got.get(key)} seen"
    if len(expected) != len(observed):
        return f"{len(expected)} observations expected, {len(observed)} seen"
    return None


def attempt(line: Json) -> tuple[list[Json] | None, str | None]:
    """Run a line: what was observed, and how it differs. A scenario that cannot run differs."""
    try:
        observed = observe(line["scenario"])
    except Exception as error:  # the line differs; the others still have to be seen
        return None, f"{type(error).__name__}: {error}"
    expected = line.get("expected")
    return observed, None if expected is None else difference(expected, observed)


def read(path: Path) -> Iterator[Json]:
    """The lines of a file of recordings."""
    with path.open() as lines:
        for text in lines:
            if text.strip():
                yield json.loads(text)


def main() -> int:
    """Replay a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--emit", type=Path, help="write what was observed for every line")
    args = parser.parse_args()
    agree = differ = 0
    emitted: list[str] = []
    for line in read(args.file):
        observed, why = attempt(line)
        emitted.append(json.dumps({"name": line.get("name"), "observed": observed}))
        if why is not None:
            differ += 1
            print(f"{line.get('name')}: {why}")
        elif "expected" in line:
            agree += 1
    if args.emit is not None:
        args.emit.write_text("".join(f"{text}\n" for text in emitted))
    print(f"{agree} agree, {differ} differ")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
