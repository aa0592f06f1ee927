"""File systems that take nothing: read-only, or without inodes. It is said in words, and where."""

from pathlib import Path

import pytest

from tests.crash.app_harness import App, eventually
from tests.crash.running_app import TREES, family
from tests.crash.test_environment_worlds import unshare

#: As `mount` calls them, and what is said of them.
READ_ONLY = ("ro", "Read-only file system")
#: What a runtime directory needs: itself, its parent, lock, ledger, socket, pointer, broker's.
INODES = 7
#: Fewer than a durable queue needs: the root, the state, two folders, its files.
STORE_INODES = 10


def without_inodes(count: int) -> tuple[str, str]:
    """A file system with so many inodes, one of them its root's."""
    return f"size=1m,nr_inodes={count}", "no inodes are left on this file system"


def run_on(mount: str, place: Path, directory: Path, *options: str) -> App:
    """Run an app that sees a file system of its own at ``place``."""
    place.mkdir(exist_ok=True)
    script = f'mount -t tmpfs -o {mount} tmpfs {place} && exec "$@"'
    wrapper = (*unshare("--mount"), "sh", "-c", script, "sh")
    env = {"MARKS": str(directory)}
    return App("flat:kept", directory, *options, cwd=TREES, env=env, wrapper=wrapper)


@pytest.mark.parametrize(
    ("mount", "said"), [READ_ONLY, *(without_inodes(n) for n in range(1, INODES))]
)
def test_a_runtime_directory_that_cannot_be_made_is_refused(
    tmp_path: Path, mount: str, said: str
) -> None:
    """Whatever it is that there is no room for: exit 78, one message, nothing is left."""
    place = tmp_path / "fs"
    with run_on(mount, place, place) as app:
        assert app.wait() == 78
        assert not family(app)
    assert said in app.errors
    assert str(place) in app.errors
    assert app.errors.count("error:") == 1
    assert "Traceback" not in app.errors


@pytest.mark.parametrize(("mount", "said"), [READ_ONLY, without_inodes(1)])
@pytest.mark.parametrize("option", ["--logs", "--state"])
def test_a_place_that_was_chosen_and_cannot_be_used_is_refused(
    tmp_path: Path, option: str, mount: str, said: str
) -> None:
    """Exit 78 and what to do; the app was not started."""
    place = tmp_path / "fs"
    with run_on(mount, place, tmp_path, option, str(place / "x")) as app:
        assert app.wait() == 78
    assert said in app.errors
    assert f"{option} DIR" in app.errors
    assert "Traceback" not in app.errors


@pytest.mark.parametrize("inodes", range(2, STORE_INODES))
def test_a_queue_that_finds_no_inodes_says_so(tmp_path: Path, inodes: int) -> None:
    """Whichever of its files cannot be made: puts are refused, it is said why, the app runs."""
    _, said = without_inodes(inodes)
    mount, place = f"size=64m,nr_inodes={inodes}", tmp_path / "fs"
    with run_on(mount, place, tmp_path, "--state", str(place / "x")) as app:
        (refused,) = app.up().wait_until(
            lambda: [r for r in app.records if r["event"].startswith("queue orders refuses puts")]
        )
        assert said in refused["event"]
        assert app.snapshot().queues[0]["store"].startswith("failed: ")
        assert app.stop() == 0


def test_an_app_whose_logs_find_no_inodes_runs(tmp_path: Path) -> None:
    """Its lines are printed, none waits; what is missing is said once."""
    mount, said = without_inodes(4)
    place = tmp_path / "fs"
    with run_on(mount, place, tmp_path, "--logs", str(place / "x")) as app:
        app.up()
        warning = app.wait_for(event="logs cannot be written to files")
        assert said in warning["error"]
        assert eventually(lambda: app.worker("kept/w.0").state == "ready")
        assert app.stop() == 0
        assert len(app.find(event="logs cannot be written to files")) == 1
