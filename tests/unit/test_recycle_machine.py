"""How much memory there is, for who is confined to a cgroup."""

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
    directory.mkdir()
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
