"""Whose code it is that does something, seen from below: the place to name to the author."""

import os
import sys
import threading

STDLIB = os.path.dirname(threading.__file__) + os.sep


def caller() -> str:
    """Return file:line of the innermost caller's caller that is not the standard library."""
    frame = sys._getframe(2)
    while frame.f_back is not None and _is_library(frame.f_code.co_filename):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _is_library(filename: str) -> bool:
    return filename.startswith("<") or (
        filename.startswith(STDLIB) and "site-packages" not in filename
    )
