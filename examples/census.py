"""What the census counts: the plain functions, with no process in sight."""

import ast
import sysconfig
from pathlib import Path
from typing import Any

LIBRARY = Path(sysconfig.get_path("stdlib"))


def library() -> list[str]:
    """Every Python file of the running Python's standard library."""
    files = (path.relative_to(LIBRARY) for path in LIBRARY.rglob("*.py"))
    return sorted(str(file) for file in files if file.parts[0] != "site-packages")


def census(file: str) -> dict[str, Any]:
    """Count one file."""
    source = (LIBRARY / file).read_bytes()
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):  # some files of its test suite are broken on purpose
        nodes = []
    functions = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    longest = sorted(((f.end_lineno or 0) - f.lineno + 1, f"{file}:{f.name}") for f in functions)
    return {
        "file": file,
        "functions": len(functions),
        "classes": sum(isinstance(n, ast.ClassDef) for n in nodes),
        "lines": source.count(b"\n"),
        "longest": longest[-10:],
    }


def report(results: dict[str, dict[str, Any]]) -> str:
    """Say the totals, and the ten longest functions."""
    totals = {k: sum(r[k] for r in results.values()) for k in ("functions", "classes", "lines")}
    lines = [f"census: {len(results)} files", *(f"census: {n} {k}" for k, n in totals.items())]
    longest = sorted((tuple(one) for r in results.values() for one in r["longest"]), reverse=True)
    return "\n".join(lines + [f"census: {n:5} lines  {name}" for n, name in longest[:10]])
