"""Every recording of Erlang/OTP's supervisor, replayed over the core with fake processes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import replay

DATA = Path(__file__).parent / "data"
FILES = ("public.jsonl", "further.jsonl")
RECORDINGS = [line for name in FILES for line in replay.read(DATA / name)]


@pytest.mark.parametrize("line", RECORDINGS, ids=[line["name"] for line in RECORDINGS])
def test_recording(line: dict[str, Any]) -> None:
    """The core does what OTP's supervisor did: results, events, states and reports."""
    _, why = replay.attempt(line)
    assert why is None, f"{why}\n{json.dumps(line['scenario'])}"


def test_a_difference_is_seen() -> None:
    """A recording with one changed event does not agree."""
    line = json.loads(json.dumps(RECORDINGS[0]))
    line["expected"][0]["events"].append(["start", "nobody", 1])
    _, why = replay.attempt(line)
    assert why is not None
    assert why.startswith("observation 0, events")


def test_replay_command_survives_a_line_it_cannot_run(tmp_path: Path) -> None:
    """A scenario that cannot be run is one differing line, and the exit status says so."""
    broken = {"name": "broken", "scenario": {"tree": {"id": "root"}, "ops": [{"op": "dance"}]}}
    only_run = {"name": "only run", "scenario": {"tree": {"id": "root"}, "ops": []}}
    source, emitted = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines = [broken, RECORDINGS[0], only_run]
    source.write_text("\n".join(json.dumps(line) for line in lines))
    command = [sys.executable, "-m", "tests.conformance.replay", source, "--emit", emitted]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "1 agree, 1 differ"
    assert done.returncode == 1
    assert [json.loads(text)["name"] for text in emitted.read_text().splitlines()] == [
        "broken",
        RECORDINGS[0]["name"],
        "only run",
    ]
