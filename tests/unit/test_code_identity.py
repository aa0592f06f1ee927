"""What tells one version of an app from another."""

import importlib
import sys
from pathlib import Path

import pytest

from supervisor.process.code import identity


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of two modules, imported."""
    where = tmp_path / "coded"
    where.mkdir()
    for name in ("__init__", "part"):
        (where / f"{name}.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("coded", "coded.part"):
        monkeypatch.setitem(sys.modules, name, None)  # to be taken out again
        del sys.modules[name]
        importlib.import_module(name)
    return where


def test_every_imported_file_of_the_package_counts(package: Path) -> None:
    """A change of one module changes it, a change back changes it back; nothing else does."""
    first = identity("coded.part")
    (package / "part.py").write_text("X = 2\n")
    second = identity("coded.part")
    (package / "unused.py").write_text("X = 1\n")
    assert identity("coded.part") == second != first
    (package / "part.py").write_text("X = 1\n")
    assert identity("coded.part") == first


@pytest.mark.parametrize("packed", [False, True])
def test_the_commit_is_shown(package: Path, packed: bool) -> None:
    """From HEAD and its branch, in a file of its own or packed, or from HEAD itself."""
    git = package.parent / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    if packed:
        (git / "packed-refs").write_text(f"# pack-refs\n{'ab' * 20} refs/heads/main\n")
    else:
        (git / "refs" / "heads" / "main").write_text("ab" * 20 + "\n")
    assert identity("coded").endswith(" (commit abababababab)")
    (git / "HEAD").write_text("cd" * 20 + "\n")
    assert identity("coded").endswith(" (commit cdcdcdcdcdcd)")


def test_what_has_no_file_has_no_version() -> None:
    """Built in, or not imported."""
    assert identity("sys") == identity("no_such_module") == ""
