"""Reports of what recycling does not cure."""

from dataclasses import replace
from pathlib import Path

import msgspec

from supervisor.core.census import SlotView
from supervisor.core.orders import Record
from supervisor.recycling.leaks import LeakReport, Leaks, per_message

SLOT = SlotView("app/web.0", "app/web", 0, 3, age=50.0, private=9000, baseline=1000, messages=40)


def test_growth_by_message_is_told_where_it_is_known() -> None:
    """What was kept above the baseline, divided by the messages that are counted."""
    assert per_message(SLOT) == 200.0
    assert per_message(replace(SLOT, messages=0)) is None
    assert per_message(replace(SLOT, baseline=None)) is None


def test_a_slot_that_is_held_off_is_reported_once(tmp_path: Path) -> None:
    """With its last three lives; again when it is held off again."""
    leaks = Leaks(str(tmp_path))
    for _ in range(5):
        leaks.recycled(SLOT, "soft")
    held = Record(4, hold=60.0, hold_until=100.0)
    leaks.look({"app/web.0": Record(4)})
    leaks.look({"app/web.0": held})
    leaks.look({"app/web.0": held})
    [file] = (tmp_path / "crashes").iterdir()
    report = msgspec.json.decode(file.read_bytes(), type=LeakReport)
    assert (report.path, report.held_off, len(report.lives)) == ("app/web.0", 60.0, 3)
    assert report.lives[0].growth_per_message == 200.0


def test_a_report_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """The directory is a file, say: it is told in the log."""
    (tmp_path / "crashes").touch()
    Leaks(str(tmp_path)).look({"app/web.0": Record(4, hold=60.0, hold_until=100.0)})


def test_a_directory_of_reports_that_was_removed_is_made_again(tmp_path: Path) -> None:
    """Where the runtime directory leads to."""
    (tmp_path / "crashes").symlink_to(tmp_path / "state" / "crashes")
    Leaks(str(tmp_path)).look({"app/web.0": Record(4, hold=60.0, hold_until=100.0)})
    [file] = (tmp_path / "state" / "crashes").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
