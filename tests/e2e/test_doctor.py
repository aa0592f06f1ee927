"""`supervisor doctor` on a real app."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.crash.app_harness import App, eventually
from tests.crash.running_app import run_tree


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
        (Path(app.socket).parent / "crashes" / "one").write_bytes(b"x" * 100)

        def complete() -> list[dict[str, object]] | None:
            document = json.loads(doctor(app.runtime, "--json").stdout)
            assert document["schema"] == "supervisor.doctor/1"
            names = {one["name"] for one in document["accumulators"]}
            wanted = {"memory of the app", "memory of untidy/quiet", "memory of untidy/once"}
            wanted |= {"uploads", "broken", "crash reports"}
            return document["accumulators"] if wanted <= names else None

        found = eventually(complete, "all accumulators")
        text = doctor(app.runtime)
    assert found is not None
    assert all(one["recycler"] for one in found)
    named = {one["name"]: one for one in found}
    assert named["uploads"]["size"] == 5000
    assert named["broken"]["high"] is True
    assert named["crash reports"]["limit"] == 64 << 20
    assert named["crash reports"]["recycler"] == "janitor"
    kept = "100 files at most, none older than 30 days, 0 removed so far"
    assert named["crash reports"]["note"] == kept
    assert named["crash reports"]["size"] >= 100  # type: ignore[operator]
    memory = named["memory of untidy/quiet"]
    assert 0 < memory["size"] < memory["limit"]  # type: ignore[operator]
    assert named["memory of untidy/once"]["limit"] is None  # it is not begun again for that
    assert named["descriptors of root"]["size"] < named["descriptors of root"]["limit"]  # type: ignore[operator]
    assert text.returncode == 0
    assert "ACCUMULATES" in text.stdout
    assert "janitor" in text.stdout


def test_it_lists_what_queues_have(tmp_path: Path) -> None:
    """Messages, bytes, dead letters, and the files of durable ones."""
    with run_tree("flat:kept", tmp_path, "--state", str(tmp_path / "state")) as app:
        app.up()
        env = {**os.environ, "SUPERVISOR_RUNTIME_DIR": str(app.runtime)}
        put = [sys.executable, "-m", "supervisor.cli.main", "queue", "put", "orders"]
        subprocess.run(put, env=env, input=b"1\n2\n", check=True, timeout=30)

        def listed() -> dict[str, dict[str, object]] | None:
            found = json.loads(doctor(app.runtime, "--json").stdout)["accumulators"]
            rows = {one["name"]: one for one in found}
            return rows if "files of queue orders" in rows else None

        rows = eventually(listed, "the broker has its files")
        assert rows is not None
        messages = rows["messages of queue orders"]
        assert (messages["size"], messages["limit"], messages["unit"]) == (2, 1000, "messages")
        assert 0 < rows["bytes of queue orders"]["size"] < rows["bytes of queue orders"]["limit"]  # type: ignore[operator]
        assert rows["dead letters of queue orders"]["size"] == 0
        assert rows["calls of queue orders"]["size"] == 0
        keys = rows["keys for dedupe of queue orders"]
        assert (keys["size"], keys["limit"], keys["unit"]) == (0, 100_000, "keys")
        assert rows["files of queue orders"]["size"] > 1 << 20  # type: ignore[operator]
        assert app.stop() == 0


def test_without_an_app_it_checks_the_machine(tmp_path: Path) -> None:
    """Nothing runs: that is no error unless an app was named."""
    done = doctor(tmp_path)
    assert done.returncode == 0
    assert "only the machine was checked" in done.stdout
    assert doctor(tmp_path, "--name", "shop").returncode == 3
