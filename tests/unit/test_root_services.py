"""What root's own processes are told."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from supervisor import Child, Supervisor
from supervisor.crashes.feed import Feed
from supervisor.declare.define import define
from supervisor.root.services import janitor_service


def told(**settings: Any) -> list[bytes]:
    """Return the directories that the janitor looks after core files in."""
    shell: Any = SimpleNamespace(app="shop:tree", runtime_dir="/run/shop")
    tree = define(Supervisor("shop", [Child("web", print, **settings)]))
    deaths = Feed()
    service = janitor_service(shell, tree, 5, deaths.reader)
    deaths.close()
    found: list[bytes] = msgspec.msgpack.decode(service.argument)["cwds"]
    return found


def test_the_janitor_is_told_of_the_directories_that_workers_run_in() -> None:
    """Root's own, and those of children that were given one."""
    assert told(cwd="/") == sorted([b"/", os.fsencode(os.getcwd())])


def test_an_own_directory_that_was_removed_ends_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload, after a deployment that has replaced it, goes on."""
    (tmp_path / "release").mkdir()
    monkeypatch.chdir(tmp_path / "release")
    (tmp_path / "release").rmdir()
    assert told(cwd="/") == [b"/"]
