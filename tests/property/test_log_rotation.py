"""Rotation and compression, crashed after any step, and repaired."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.logs.rotation import (
    Create,
    Rename,
    Step,
    SyncDirectory,
    Unlink,
    between,
    compressed_name,
    current_name,
    finish,
    last_stamp,
    next_stamp,
    parse,
    repair,
    rotate,
)


class Crash(Exception):  # noqa: N818 - what happens in these tests
    """Power is gone."""


@dataclass
class Directory:
    """A directory: file names to the lines in them; it crashes after so many steps."""

    files: dict[str, list[int]] = field(default_factory=dict)
    left: int | None = None

    def perform(self, step: Step) -> None:
        """Do one step, if there is still power."""
        if self.left is not None:
            if self.left == 0:
                raise Crash
            self.left -= 1
        match step:
            case Rename(old, new):
                assert new not in self.files
                self.files[new] = self.files.pop(old)
            case Create(name):
                assert name not in self.files
                self.files[name] = []
            case Unlink(name):
                self.files.pop(name, None)
            case SyncDirectory():
                pass

    def start(self, current: str, now: float) -> None:
        """Repair, as a new pump does."""
        for step in repair(self.files, current, next_stamp(now, last_stamp(self.files))):
            self.perform(step)

    def counted(self) -> list[int]:
        """Return all lines that count, in the order of the files."""
        names = sorted(name for name in map(parse, self.files) if name is not None)
        closed = [name for name in names if name.stamp]
        lines: list[int] = []
        for name in closed:
            assert not name.text.endswith(".tmp")
            lines += self.files[name.text]
        for text in ("current.jsonl", "current.log"):
            lines += self.files.get(text, [])
        return lines


actions = st.lists(
    st.one_of(
        st.just("write"),
        st.just("rotate"),
        st.tuples(st.sampled_from(["compress", "half"]), st.sampled_from(["zstd", "gzip"])),
        st.tuples(st.just("crash"), st.integers(0, 5)),
    ),
    max_size=40,
)


@settings(max_examples=3 * settings.default.max_examples)
@given(actions, st.booleans(), st.floats(0, 4e9))
def test_every_line_is_in_exactly_one_file_after_any_crash(
    steps: list[str | tuple[str, object]], raw: bool, clock: float
) -> None:
    """Whatever was interrupted: nothing lost, nothing doubled, nothing out of order."""
    directory, current, written = Directory(), current_name(raw), 0
    directory.start(current, clock)
    for action in steps:
        try:
            match action:
                case "write":
                    directory.files[current].append(written)
                    written += 1
                case "rotate":
                    stamp = next_stamp(clock, last_stamp(directory.files))
                    for step in rotate(current, stamp):
                        directory.perform(step)
                case ("crash", int(left)):
                    directory.left = left
                case (kind, str(codec)):
                    compress(directory, codec, whole=kind == "compress")
        except Crash:
            directory.left = None
            directory.start(current, clock)
            assert directory.counted() == list(range(written))
    directory.left = None
    directory.start(current, clock)
    assert directory.counted() == list(range(written))


def compress(directory: Directory, codec: str, *, whole: bool) -> None:
    """Compress the oldest closed file, or begin with it and be killed."""
    waiting = sorted(name for name in directory.files if name.endswith(".u"))
    if not waiting:
        return
    unfinished = compressed_name(waiting[0], codec) + ".tmp"
    directory.perform(Unlink(unfinished))
    directory.perform(Create(unfinished))
    directory.files[unfinished] = list(directory.files[waiting[0]])
    if not whole:
        raise Crash
    for step in finish(waiting[0], codec):
        directory.perform(step)


@given(st.text(max_size=30))
def test_names_of_others_are_not_ours(text: str) -> None:
    """Only names that this very module makes are taken for log files."""
    name = parse(text)
    assert name is None or name.text == text


@given(st.floats(0, 4e9), st.integers(0, 10**16 - 2))
def test_stamps_only_grow(now: float, last: int) -> None:
    """Also when the clock is set back; they count, and are never before now."""
    stamp = next_stamp(now, last)
    assert stamp > last
    assert between(stamp, last) == 0
    assert stamp >= int(now * 1e6)


def test_a_switch_of_the_form_closes_the_other_file() -> None:
    """Raw lines are not appended to JSON lines."""
    directory = Directory({"current.jsonl": [0, 1]})
    directory.start("current.log", 1.0)
    assert directory.files == {"@0000000001000001.u": [0, 1], "current.log": []}
