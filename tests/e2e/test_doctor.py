"""`supervisor doctor` on a real app."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.crash.app_harness import App, eventually


def doctor(runtime: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run it."""
    command = [sys.executable, "-m", "supervisor.cli.main", "doctor", *options]
    env = {**os.environ, "SUPERVISOR_RUNTIME_DIR": str(runtime)}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)


def test_it_lists_what_accumulates_and_who_recycles_it(tmp_path: Path) -> None:
    """Every accumulator has a recycler; those with a limit are within it; a failure shows."""
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "file").write_bytes(b"x" * 5000)
    with App("untidy:tree", tmp_path, env={"MARKS": str(tmp_path)}) as app:
        app.up()
        crashes = Path(app.socket).parent / "crashes"
        crashes.mkdir()
        (crashes / "one").write_bytes(b"x" * 100)

        def complete() -> list[dict[str, object]] | None:
            document = json.loads(doctor(app.runtime, "--json").stdout)
            assert document["schema"] == "supervisor.doctor/1"
            names = {one["name"] for one in document["accumulators"]}
            wanted = {"memory of the app", "memory of untidy/quiet", "memory of untidy/once"}
            wanted |= {"uploads", "broken"}
            return document["accumulators"] if wanted <= names else None

        found = eventually(complete, "all accumulators")
        text = doctor(app.runtime)
    assert found is not None
    assert all(one["recycler"] for one in found)
    named = {one["name"]: one for one in found}
    assert named["uploads"]["size"] == 5000
    assert named["broken"]["high"] is True
    assert named["crash reports"]["limit"] == 64 << 20
    memory = named["memory of untidy/quiet"]
    assert 0 < memory["size"] < memory["limit"]  # type: ignore[operator]
    assert named["memory of untidy/once"]["limit"] is None  # it is not begun again for that
    assert named["descriptors of root"]["size"] < named["descriptors of root"]["limit"]  # type: ignore[operator]
    assert text.returncode == 0
    assert "ACCUMULATES" in text.stdout
    assert "janitor" in text.stdout


def test_without_an_app_it_checks_the_machine(tmp_path: Path) -> None:
    """Nothing runs: that is no error unless an app was named."""
    done = doctor(tmp_path)
    assert done.returncode == 0
    assert "only the machine was checked" in done.stdout
    assert doctor(tmp_path, "--name", "shop").returncode == 3
