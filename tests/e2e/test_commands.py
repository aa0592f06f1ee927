"""The commands against a running app, and its health over HTTP."""

import json
import socket
import urllib.request

from tests.e2e.running import running, supervisor


def test_an_app_is_looked_at_scaled_restarted_and_stopped() -> None:
    """status, tree, scale, restart, stop and start work on a running app, with --json too."""
    with running("examples.chaos_monkey:tree") as app:
        app.event("up")
        assert app.command("stop", "zoo/monkey").returncode == 0
        status = app.command("status", "--json")
        assert json.loads(status.stdout)["snapshot"]["phase"] == "running"
        assert app.command("scale", "zoo/sleeper", "5").returncode == 0
        assert "5/5" in app.command("tree").stdout
        assert app.command("restart", "zoo/sleeper").returncode == 0
        assert app.command("start", "zoo/monkey").returncode == 0
        wrong = app.command("restart", "zoo/sleper")
        assert wrong.returncode == 4
        assert "zoo/sleeper" in wrong.stderr
        assert app.command("stop").returncode == 0
        assert app.process.wait(10) == 0


def test_health_shows_the_tree() -> None:
    """/healthz, /livez and /readyz answer, and the document has every worker with its pid."""
    with running("examples.chaos_monkey:tree", health=True) as app:
        app.event("up")
        address = json.loads(app.command("status", "--json").stdout)["snapshot"]["health_address"]
        for path in ("livez", "readyz"):
            with urllib.request.urlopen(f"http://{address}/{path}", timeout=5) as answer:
                assert answer.status == 200
        with urllib.request.urlopen(f"http://{address}/healthz", timeout=5) as answer:
            assert answer.headers["Content-Type"] == "application/health+json"
            document = json.load(answer)
        with urllib.request.urlopen(f"http://{address}/version", timeout=5) as answer:
            assert json.load(answer)["code"] == document["releaseId"] is not None
        tree = document["supervisor"]["tree"]
        assert tree["path"] == "zoo"
        assert tree["strategy"] == "one_for_one"
        sleeper = next(child for child in tree["children"] if child["path"] == "zoo/sleeper")
        assert len(sleeper["workers"]) == 3
        assert all(worker["pid"] or worker["state"] != "ready" for worker in sleeper["workers"])
        assert app.end() == 0


def test_a_second_run_of_the_same_name_is_refused() -> None:
    """It exits with 75, names the first, and touches nothing."""
    with running("examples.chaos_monkey:tree") as app:
        app.event("up")
        with socket.create_server(("127.0.0.1", 0)) as taken:  # as the first one's health has it
            port = str(taken.getsockname()[1])
            for health in (["--no-health"], ["--health", port]):
                second = app.command("run", *health, "examples.hello:tree")
                assert second.returncode == 75
                assert str(app.process.pid) in second.stderr
        assert app.command("status").returncode == 0
        assert app.end() == 0


def test_a_broken_app_is_refused_before_anything_starts() -> None:
    """One message says what is wrong and what to do; the exit code is 78."""
    missing = supervisor("run", "--no-health", "examples.nowhere:tree")
    assert missing.returncode == 78
    assert "examples.nowhere" in missing.stderr
    assert "Traceback" not in missing.stderr
    assert supervisor("check", "examples.orders:tree").returncode == 0
