"""How much memory there is, for who is confined to a cgroup."""

import os
from pathlib import Path

import pytest

from supervisor.recycling import machine

MIB = 1 << 20


def confine(
    directory: Path, is_v2: bool, limit_mib: int | None, used_mib: int, files_mib: int
) -> None:
    """Write what the kernel says of a cgroup."""
    names = machine.V2_FILES if is_v2 else machine.V1_FILES
    no_limit = "max" if is_v2 else str((1 << 63) - 4096)
    limit = no_limit if limit_mib is None else str(limit_mib * MIB)
    directory.mkdir(exist_ok=True)
    (directory / names.limit).write_text(f"{limit}\n")
    (directory / names.used).write_text(f"{used_mib * MIB}\n")
    stat = f"anon 5\n{names.reclaimable} {files_mib * MIB}\nactive_file 7\n"
    (directory / "memory.stat").write_text(stat)


@pytest.mark.parametrize("is_v2", [True, False])
def test_pages_of_files_that_nobody_uses_are_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_v2: bool
) -> None:
    """The kernel fills a cgroup with them up to its limit in time, and drops them when asked."""
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "inner"
    confine(outer, is_v2, limit_mib=200, used_mib=190, files_mib=80)
    confine(inner, is_v2, limit_mib=None, used_mib=150, files_mib=60)
    monkeypatch.setattr(machine, "cgroup", lambda: (str(inner), is_v2))
    assert machine.available() == 90 * MIB
    assert machine.total() == 200 * MIB


MOUNTS = """\
23 28 0:22 / /proc rw,nosuid - proc proc rw
35 31 0:32 {part} {place} ro,relatime master:9 - cgroup cgroup rw,memory
36 31 0:33 {part} {other} ro,relatime - cgroup cgroup rw,cpu,cpuacct
38 31 0:38 {part} {unified} rw,relatime - cgroup2 cgroup2 rw,nsdelegate
"""


@pytest.mark.parametrize("is_v2", [True, False])
@pytest.mark.parametrize(
    ("part", "path", "below"),
    [
        ("/", "/", ""),  # of a namespace of our own, or of a machine without any
        ("/", "/user.slice/app", "user.slice/app"),
        ("/docker/0123", "/docker/0123", ""),  # a container without a cgroup namespace
        ("/docker/0123", "/docker/0123/app", "app"),
        ("/docker/0123", "/docker/0123x", None),
        ("/docker/0123", "/elsewhere", None),
    ],
)
def test_our_cgroup_is_found_where_it_is_mounted(
    tmp_path: Path, is_v2: bool, part: str, path: str, below: str | None
) -> None:
    """Though we are told our place in the whole hierarchy, and only a part of it is mounted."""
    place = tmp_path / "memory of us"
    (place / (below or "nothing")).mkdir(parents=True)
    for directory in (place, place / (below or "nothing")):
        for file in ("memory.events", machine.V1_FILES.limit):
            (directory / file).touch()
    words = {"part": part, "place": tmp_path / "not", "unified": tmp_path / "not"}
    words["unified" if is_v2 else "place"] = str(place).replace(" ", "\\040")
    mounts = MOUNTS.format(other=tmp_path, **words).splitlines(keepends=True)
    told = [f"3:cpu,cpuacct:{path}\n", f"4:memory:{path}\n", f"0::{path}\n"]
    expected = None if below is None else (str(place / below), is_v2)
    assert machine.cgroup_of(told, mounts) == expected
    assert machine.cgroup_of(told, mounts[:1]) is None
    assert machine.cgroup_of([], mounts) is None


def test_a_limit_on_what_is_mounted_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container that is the container's; what is above it is none of ours."""
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "inner"
    confine(outer, True, limit_mib=200, used_mib=190, files_mib=80)
    confine(inner, True, limit_mib=300, used_mib=150, files_mib=60)
    monkeypatch.setattr(machine, "cgroup", lambda: (str(inner), True))
    monkeypatch.setattr(os.path, "ismount", lambda path: path == str(inner))
    assert machine.total() == 300 * MIB


def test_pressure_of_our_cgroup_counts_if_it_is_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We may be short of memory while the machine is not; version 1 does not say."""
    machine_wide = tmp_path / "machine"
    machine_wide.write_text(
        "some avg10=21.50 avg60=0.00 avg300=0.00 total=7\n"
        "full avg10=1.00 avg60=0.00 avg300=0.00 total=3\n"
    )
    (tmp_path / "memory.pressure").write_text(
        "some avg10=15.00 avg60=0.00 avg300=0.00 total=7\n"
        "full avg10=12.25 avg60=0.00 avg300=0.00 total=3\n"
    )
    monkeypatch.setattr(machine, "PRESSURE", str(machine_wide))
    for is_v2, full in ((True, 12.25), (False, 1.0)):
        monkeypatch.setattr(machine, "cgroup", lambda is_v2=is_v2: (str(tmp_path), is_v2))
        assert machine.pressure() == machine.Pressure(21.5, full)
    monkeypatch.setattr(machine, "PRESSURE", str(tmp_path / "nowhere"))
    assert machine.pressure() is None  # the kernel does not say
