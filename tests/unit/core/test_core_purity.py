"""The core stays pure: it imports nothing that could act, wait, or differ from run to run."""

import ast
from pathlib import Path

import pytest

import supervisor.core

PURE = {
    "collections", "dataclasses", "enum", "itertools", "math", "re", "statistics", "supervisor",
    "typing",
}  # fmt: skip
MODULES = sorted(Path(supervisor.core.__file__ or "").parent.glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_imports_are_pure(path: Path) -> None:
    """Only data, arithmetic, and the core itself."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            assert name.partition(".")[0] in PURE
            assert not name.startswith("supervisor") or name.startswith("supervisor.core")
