"""Crash reports: what is in them, which are kept, and what happens where they cannot be."""

import errno
import json
import os
import socket
from pathlib import Path

import msgspec
import pytest

from supervisor.crashes import place, shelf
from supervisor.crashes.clerk import Clerk, recycle
from supervisor.crashes.death import Death, Untold
from supervisor.crashes.feed import Feed
from supervisor.crashes.redaction import redacted
from supervisor.crashes.register import REGISTER, Register
from supervisor.crashes.report import fingerprint, headline, ordinal, own_frames
from supervisor.crashes.shelf import Kept, doomed
from supervisor.observe.snapshot import LastExit

AT = 1_795_300_000.25
TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/app.py", line 7, in handle
    charge()
  File "/usr/lib/python3.11/site-packages/bank.py", line 3, in charge
    raise LookupError("no order")
LookupError: no order
"""
STACKS = """Current thread 0x1 (most recent call first):
  File "/srv/shop/inner.py", line 1 in spin
  File "/srv/shop/outer.py", line 2 in run
"""


def death(number: int = 0, **more: object) -> Death:
    """A death; another ``number`` is one a second later."""
    end = LastExit("signal:SIGSEGV", AT + number, signal="SIGSEGV", incarnation=number + 1)
    fields = {"path": "shop/web.2", "child": "shop/web", "slot": 2, "pid": 77, "end": end, **more}
    return msgspec.convert(msgspec.to_builtins(fields), Death)


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A runtime directory that leads to a state directory."""
    runtime = tmp_path / "rt"
    runtime.mkdir()
    place.point(str(runtime), place.prepare(str(tmp_path / "state")))
    return runtime


@pytest.fixture
def clerk(runtime: Path, feed: Feed) -> Clerk:
    """The janitor's."""
    return Clerk(feed.reader, str(runtime), "app:tree")


def files(runtime: Path) -> list[str]:
    """List what is in the directory of reports."""
    return sorted(os.listdir(runtime / "crashes"))


def register(runtime: Path) -> Register:
    """Read what the clerk has said."""
    found = REGISTER.read(str(runtime))
    assert found is not None
    return found


# --- what is in a report ----------------------------------------------------------------------


def test_a_headline_says_who_what_how_often_and_then() -> None:
    """In one sentence."""
    dead = death(recent=3, decision="restart")
    assert headline(dead) == "web[2] pid 77 killed by SIGSEGV, 3rd crash in 10 min; restart"
    end = LastExit("exception:LookupError", AT, exit_code=1)
    failed = death(end=end, exception="LookupError", message="no order\nat all", decision="restart")
    assert headline(failed).startswith("web[2] pid 77 failed with LookupError: no order, 1st crash")
    for cause, said in {
        "heartbeat": "killed by its supervisor: no heartbeat",
        "oom": "killed by the kernel for want of memory",
        "spawn: no memory": "could not be started: no memory",
        "something": "ended: something",
    }.items():
        assert said in headline(death(end=LastExit(cause, AT)))


def test_ordinals() -> None:
    """Eleventh to thirteenth are no firsts to thirds."""
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 100, 111, 112)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "100th", "111th", "112th",
    ]  # fmt: skip


def test_frames_are_the_authors_with_the_innermost_first() -> None:
    """In tracebacks, and in stacks, which go the other way; without lines."""
    assert own_frames(TRACEBACK) == ["/srv/shop/app.py:handle"]
    assert own_frames(STACKS) == ["/srv/shop/inner.py:spin", "/srv/shop/outer.py:run"]
    foreign = 'File "/usr/lib/python3.11/abc.py", line 1, in load'
    assert own_frames(foreign) == ["/usr/lib/python3.11/abc.py:load"]
    assert own_frames("") == []


def test_crashes_of_a_kind_have_one_fingerprint() -> None:
    """Whatever the line, pid or slot is; not so with another cause, exception, frame or child."""
    one = death(traceback=TRACEBACK)
    assert fingerprint(one) == fingerprint(
        death(5, traceback=TRACEBACK.replace("line 7", "line 8"), slot=1, pid=5, path="shop/web.1")
    )
    others = [
        death(traceback=TRACEBACK.replace("handle", "refund")),
        death(traceback=TRACEBACK, exception="KeyError"),
        death(traceback=TRACEBACK, end=LastExit("signal:SIGBUS", AT)),
        death(traceback=TRACEBACK, child="shop/mail"),
    ]
    assert len({fingerprint(other) for other in [one, *others]}) == 5


def test_secrets_of_the_environment_are_not_quoted() -> None:
    """Values of variables with such names become the names; short ones and others stay."""
    environment = {"DB_PASSWORD": "hunter22", "HOME": "/home/shop", "API_KEY": "no", "TOKEN": None}
    text = "cannot log in with hunter22 from /home/shop: no"
    assert redacted(text, environment) == "cannot log in with <DB_PASSWORD> from /home/shop: no"
    login = {"DATABASE_URL": "postgres://shop:pw@db/shop", "PAGE": "http://shop/a:b"}
    refused = "postgres://shop:pw@db/shop refuses http://shop/a:b"
    assert redacted(refused, login) == "<DATABASE_URL> refuses http://shop/a:b"
    odd = redacted("a password: hunter22", {"\udcffTOKEN": "hunter22"})  # a name that is no text
    assert odd == "a password: <\\udcffTOKEN>"


# --- which are kept ---------------------------------------------------------------------------


def kept(number: int, kind: str = "a", size: int = 10) -> Kept:
    """A report of a kind."""
    return Kept("shop/web.0", AT + number, fingerprint=kind, file=f"{kind}{number}", size=size)


def test_of_a_kind_the_first_and_the_last_three_are_kept() -> None:
    """Those in the middle go; of another kind, none."""
    found = [kept(n) for n in range(9)] + [kept(n, "b") for n in range(6)]
    assert [one.file for one in doomed(found, AT)] == ["a3", "a4", "a5"]


def test_a_hundred_are_kept_of_64_mib_and_thirty_days() -> None:
    """The oldest go; reports of leaks, which have no kind, count as others do."""
    many = [kept(n, f"k{n}") for n in range(100)] + [Kept("x", AT - 1, file="leak-x", size=1)]
    assert [one.file for one in doomed(many, AT)] == ["leak-x"]
    large = [kept(n, f"k{n}", size=10 << 20) for n in range(8)]
    assert [one.file for one in doomed(large, AT)] == ["k00", "k11"]
    assert doomed([kept(0)], AT + 31 * 86_400) == [kept(0)]


def test_a_crash_loop_leaves_six_files(runtime: Path, feed: Feed, clerk: Clerk) -> None:
    """Each says which of its kind it was; the directory and the files are closed to others."""
    for number in range(50):
        assert feed.send(death(number))
        clerk.work()
    found = shelf.listed(str(runtime / "crashes"))
    assert [one.count for one in found] == [1, 2, 3, 48, 49, 50]
    assert register(runtime).written == 50
    assert len(register(runtime).known) == 6
    for path in (runtime / "crashes").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.stat().st_size <= shelf.MAX_BYTES
    assert (runtime / "crashes").stat().st_mode & 0o777 == 0o700
    assert files(runtime)[0].startswith("20261121T222640Z-web-2-cr-")


def test_a_clerk_goes_on_where_the_last_one_was(runtime: Path, feed: Feed, clerk: Clerk) -> None:
    """It counts on, takes what was said meanwhile, and clears away half a report."""
    feed.send(death(0))
    clerk.work()
    half = runtime / "crashes" / ".x.json.new"
    half.write_text("half")
    feed.send(death(1))
    successor = Clerk(feed.reader, str(runtime), "app:tree")
    successor.look()
    successor.work()
    assert [one.count for one in shelf.listed(str(runtime / "crashes"))] == [1, 2]
    assert not half.exists()


def test_texts_that_would_be_too_much_are_cut(runtime: Path, feed: Feed, clerk: Clerk) -> None:
    """Characters that JSON has to escape take six bytes; a report has its limit all the same."""
    assert feed.send(death(traceback="\x01" * 60_000, stacks="\x02" * 60_000))
    clerk.work()
    [name] = files(runtime)
    assert (runtime / "crashes" / name).stat().st_size <= shelf.MAX_BYTES
    assert json.loads((runtime / "crashes" / name).read_text())["traceback"] == "\x01" * 10_000


# --- where it cannot be written ---------------------------------------------------------------


def test_a_directory_that_was_removed_is_made_again(
    runtime: Path, feed: Feed, clerk: Clerk, tmp_path: Path
) -> None:
    """With the next report, and closed to others."""
    feed.send(death(0))
    clerk.work()
    for path in (tmp_path / "state" / "crashes").iterdir():
        path.unlink()
    (tmp_path / "state" / "crashes").rmdir()
    feed.send(death(1))
    clerk.work()
    assert len(files(runtime)) == 1
    assert register(runtime).kept == 1
    assert (tmp_path / "state" / "crashes").stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_written_is_counted(
    runtime: Path, feed: Feed, clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves nothing half-written; the next report that is, ends the warning."""

    def full(_source: str, _target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", full)
        feed.send(death(0))
        feed.send(Untold(7))
        clerk.work()
    known = register(runtime)
    assert (known.written, known.skipped, known.failed) == (0, 8, 1)
    assert "No space left" in known.problem
    assert files(runtime) == []
    feed.send(death(1))
    clerk.work()
    assert register(runtime).problem == ""
    assert register(runtime).written == 1


def test_a_feed_that_nobody_reads_takes_no_more(feed: Feed) -> None:
    """Root is told so at once, and waits for nobody."""
    sent = 0
    while feed.send(death(traceback="x" * 10_000)):
        sent += 1
        assert sent < 1000
    assert sent > 3
    assert len(feed.reader.recv(1 << 18, socket.MSG_DONTWAIT)) > 10_000
    assert feed.send(death())


def test_without_a_state_directory_they_are_in_the_runtime_directory(tmp_path: Path) -> None:
    """One that others could look into is none either."""
    (tmp_path / "state" / "crashes").mkdir(parents=True, mode=0o755)
    (tmp_path / "state" / "crashes").chmod(0o755)
    assert place.prepare(str(tmp_path / "state")) is None
    place.point(str(tmp_path), None)
    shelf.write(place.below(str(tmp_path)), "a.json", b"{}")
    place.point(str(tmp_path), str(tmp_path / "elsewhere"))  # they stay where they are
    assert (tmp_path / "crashes" / "a.json").read_bytes() == b"{}"


def test_the_recycler_looks_at_reports_of_leaks_too(runtime: Path) -> None:
    """Others write them; there may be a hundred in all."""
    for number in range(103):
        content = json.dumps({"path": "shop/web.0", "at": 4e9 + number, "lives": []})
        (runtime / "crashes" / f"leak-{number:03}.json").write_text(content)
    outcome = recycle(str(runtime))
    assert (outcome.removed, outcome.files) == (3, 100)
    assert files(runtime)[0] == "leak-003.json"
    assert recycle(str(runtime / "nothing")).files is None
