"""What others know of a death: what was at hand, the last lines, and what memory there was."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from supervisor.cli.crash_view import show_text
from supervisor.crashes import last_lines as lines_of
from supervisor.crashes.at_hand import MOST_NAMED, AtHand, Message
from supervisor.crashes.background import MOST_NEAR, MOST_WAITING, Background
from supervisor.crashes.clerk import Clerk
from supervisor.crashes.feed import Feed, take
from supervisor.crashes.last_lines import last_lines
from supervisor.crashes.report import Context, Where, Work, compose
from supervisor.crashes.shelf import Kept
from supervisor.logs import place
from supervisor.logs.record import timestamp
from supervisor.recycling.departures import Departures
from supervisor.recycling.report import REPORT, Departed, Report, SlotReport
from tests.unit.test_crash_report_files import AT, death
from workers.queues.broker.inquest import Inquest, teller
from workers.queues.core.chunk import Chunk
from workers.queues.core.leases import Verdict

WHO = "shop/web.2#1"
SLOT = SlotReport(90, 200, 300, 40, 2.5, pid=77, fds=9, threads=3, samples=[(2.0, 80), (0.0, 90)])


def kept(event: str, incarnation: int = 1, path: str = "shop/web.2", **more: Any) -> bytes:
    """One line as the pump keeps it."""
    source = {"path": path, "stream": "stderr", "pid": 77, "incarnation": incarnation}
    time = "2026-11-22T01:55:27.262000Z"
    return msgspec.json.encode({"time": time, "event": event, "source": source, **more}) + b"\n"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """The files of shop/web."""
    directory = tmp_path / "kept" / "shop" / "web"
    directory.mkdir(parents=True)
    return directory


def last(logs: Path, **secrets: str) -> list[Any]:
    """Return what the last lines of the first incarnation say."""
    known = {value: f"<{name}>" for name, value in secrets.items()}
    found = last_lines(str(logs.parent.parent), "shop/web", "shop/web.2", 1, known)
    return [line["event"] for line in found]


# --- the messages at hand -----------------------------------------------------------------------


def test_what_a_cursor_was_at_and_what_was_given_back_is_told_by_name() -> None:
    """As log lines name messages; of a great many the first, and how many."""
    told: list[AtHand] = []
    inquest = Inquest("orders", 0xAB, told.append)
    inquest.gave_back(1, Chunk(4, 3, b"", attempt=2, origin=30), 1)
    inquest.ended(1, WHO, [Verdict(Chunk(5, 9, b"", origin=40), 3, 2)])
    names = [Message("orders:000000ab:31", 2), Message("orders:000000ab:43", 1)]
    names.append(Message("orders:000000ab:44", 1))
    assert told == [AtHand(WHO, "orders", 3, names)]
    inquest.ended(1, WHO, [Verdict(Chunk(5, 9, b"", origin=40), 3)])  # it was idle
    inquest.ended(2, "", [Verdict(Chunk(5, 9, b"", origin=40), 3, 1)])  # it has said no name
    assert len(told) == 1
    Inquest("kept", 0, told.append).ended(1, WHO, [Verdict(Chunk(6, 900, b"", origin=1), 0, 800)])
    assert (told[1].count, len(told[1].messages)) == (800, MOST_NAMED)
    assert told[1].messages[0].id == "kept:1"


def test_a_death_finds_its_word_though_that_comes_behind_it(tmp_path: Path, feed: Feed) -> None:
    """Both are in the socket when it is read; a word without a death is forgotten in time."""
    clerk = Clerk(feed.reader, str(tmp_path), "app:tree")
    feed.send(death())
    teller(feed.writer)(AtHand(WHO, "orders", 1, [Message("orders:7", 2)]))
    clerk.work()
    [file] = (tmp_path / "crashes").iterdir()
    report = msgspec.json.decode(file.read_bytes())
    assert report["work"] == {
        "queue": "orders", "count": 1, "messages": [{"id": "orders:7", "attempt": 2}],
    }  # fmt: skip
    assert "killed by SIGSEGV while handling orders:7 (attempt 2), 1st crash" in report["headline"]
    background = Background(str(tmp_path), {})
    for number in range(MOST_WAITING + 1):
        background.note(AtHand(f"shop/web.2#{number + 1}", "orders", 1, []))
    assert background.of(death(), []).work is None
    assert background.of(death(1), []).work is not None
    assert background.of(death(1), []).work is None  # it was that one's


def test_a_word_that_does_not_fit_is_not_waited_for(feed: Feed) -> None:
    """The broker has other things to do."""
    word, heard = AtHand(WHO, "q" * 200, 1, []), 0
    for _ in range(5000):
        teller(feed.writer)(word)
    while words := take(feed.reader):
        assert words == [word] * len(words)
        heard += len(words)
    assert 0 < heard < 5000


# --- the last lines -----------------------------------------------------------------------------


def test_the_last_lines_are_those_of_the_process(logs: Path) -> None:
    """Not of its successor or of other slots; the newest, over a rotation, in their order."""
    (logs / "@0000000000000001.u").write_bytes(kept("a") + kept("b") + kept("x", path="shop/web.1"))
    (logs / "current.jsonl").write_bytes(kept("c") + kept("next", 2) + kept("d") + b'{"unfinished')
    assert last(logs) == ["a", "b", "c", "d"]
    (logs / "current.jsonl").write_bytes(b"".join(kept(str(n)) for n in range(80)))
    assert last(logs) == [str(n) for n in range(80 - lines_of.MOST, 80)]


def test_of_large_files_only_the_end_is_read(logs: Path) -> None:
    """And of large lines only so many as a report may have; what is compressed, not at all."""
    many = b"".join(kept(f"{n:0900}") for n in range(2000))
    (logs / "current.jsonl").write_bytes(many)
    found = last(logs)
    assert [int(event) for event in found] == list(range(2000 - len(found), 2000))
    (logs / "current.jsonl").write_bytes(b"".join(kept("w" * 17_000 + str(n)) for n in range(9)))
    assert [event[-1] for event in last(logs)] == ["6", "7", "8"]
    (logs / "current.jsonl").unlink()
    (logs / "@0000000000000001.s.gz").write_bytes(b"not looked at")
    assert last(logs) == []
    assert last_lines("/nowhere", "a", "a.0", 1, {}) == []


def test_secrets_of_the_environment_are_kept_out_of_lines(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However deep, quoted or as a key: inherited ones, and those that the Child declares."""
    monkeypatch.setenv("PLANTED_SECRET", 'correct "horse"')
    place.point(str(tmp_path), str(tmp_path / "kept"))
    deep = {"list": [{'correct "horse"': ["tr0ub4dor", 1, None]}]}
    (logs / "current.jsonl").write_bytes(kept('the correct "horse"', deep=deep))
    background = Background(str(tmp_path), {"shop/web": {"DB_PASSWORD": "tr0ub4dor"}})
    [line] = background.of(death(), []).log
    assert line["event"] == "the <PLANTED_SECRET>"
    assert line["deep"] == {"list": [{"<PLANTED_SECRET>": ["<DB_PASSWORD>", 1, None]}]}


# --- the others ---------------------------------------------------------------------------------


def near(seconds: float) -> Kept:
    """The report of another death so many seconds before the first one."""
    return Kept("shop/db.0", AT - seconds, f"cr-{seconds:g}", cause="exit:1", fingerprint="f")


def test_deaths_shortly_before_are_named() -> None:
    """The last one last: what came at once may have one cause. Leaks are no deaths."""
    leak = Kept("shop/db.0", AT - 1.0, "leak-1")
    kept = [near(0.0), near(6.0), leak, near(4.0), near(-1.0), near(2.5)]
    found = Background("/nowhere", {}).of(death(), kept).others
    assert [(one.id, one.seconds_before) for one in found] == [
        ("cr-4", 4.0), ("cr-2.5", 2.5), ("cr-0", 0.0),
    ]  # fmt: skip
    many = Background("/nowhere", {}).of(death(), [near(n / 10) for n in range(40)]).others
    assert [one.seconds_before for one in many] == [n / 10 for n in range(MOST_NEAR)][::-1]


# --- memory, and all of it together -------------------------------------------------------------


def test_memory_is_what_the_arbiter_saw_of_that_process(tmp_path: Path) -> None:
    """Not of the one that runs by now in its place."""
    report = Report(AT, 1.0, 1, 1, {}, 1, 0.0, 0.0, 0, 0, 0, {}, {}, {"shop/web.2": SLOT})
    REPORT.post(str(tmp_path), report)
    found = Background(str(tmp_path), {}).of(death(), []).memory
    assert found is not None
    assert (found.private, found.baseline, found.growth_per_second) == (90, 40, 2.5)
    assert (found.samples, found.fds, found.threads) == ([(2.0, 80), (0.0, 90)], 9, 3)
    assert Background(str(tmp_path), {}).of(death(pid=78), []).memory is None


def test_memory_of_one_that_was_replaced_is_still_known(tmp_path: Path) -> None:
    """A worker over its hard limit ends after its successor has its slot: for a minute."""
    departures, new = Departures(), SlotReport(5, 200, 300, pid=78)
    assert departures.see(AT - 9.0, {"shop/web.2": SLOT, "shop/web.3": SLOT}) == []
    gone = departures.see(AT - 4.0, {"shop/web.2": new, "shop/web.3": SLOT})
    assert gone == [Departed("shop/web.2", AT - 9.0, SLOT)]
    report = Report(AT, 1.0, 1, 1, {}, 1, 0.0, 0.0, 0, 0, 0, {}, {}, {"shop/web.2": new})
    REPORT.post(str(tmp_path), msgspec.structs.replace(report, departed=gone))
    found = Background(str(tmp_path), {}).of(death(), []).memory
    assert found is not None
    assert (found.private, found.time) == (90, timestamp(AT - 9.0))
    assert len(departures.see(AT, {})) == 3
    assert departures.see(AT + 100.0, {}) == []


def test_all_of_it_is_shown(tmp_path: Path, logs: Path) -> None:
    """To people: one line for messages, one for memory, and the log as `supervisor logs` shows."""
    (logs / "current.jsonl").write_bytes(kept("\x1b[2Jwhat it said", level="info"))
    place.point(str(tmp_path), str(tmp_path / "kept"))
    report = Report(time.time(), 1.0, 1, 1, {}, 1, 0.0, 0.0, 0, 0, 0, {}, {}, {"shop/web.2": SLOT})
    REPORT.post(str(tmp_path), report)
    context = Background(str(tmp_path), {}).of(death(), [near(1.5)])
    work = Work("orders", 3, [Message("orders:7", 2), Message("orders:8", 1)])
    context = Context(context.others, work, context.memory, context.log)
    told = compose(death(), "cr-1", Where("app:tree", "here", "3.14"), 1, context)
    text = show_text(msgspec.json.encode(told))
    assert "while handling 3 messages of orders, 1st crash" in text
    assert "orders:7 (attempt 2), orders:8 (attempt 1) of orders, and 1 more" in text
    assert "9 descriptors, 3 threads" in text
    assert "shop/db.0 exit:1 1.5 s before (cr-1.5)" in text
    assert "shop/web[2]" in text
    assert "what it said" in text
    assert "\x1b" not in text
    bare = compose(death(), "cr-1", Where("app:tree", "here", "3.14"), 1)
    assert "last lines" not in show_text(msgspec.json.encode(bare))
