"""Keeping secrets of the environment out of reports: no values of it are put in, but a message may
quote one, as a connection that fails quotes the address it was given.
"""

import re
from collections.abc import Mapping
from typing import Any

from supervisor.errors import escaped

_SECRET = re.compile("secret|token|passw|_pwd$|(^|_)key$|apikey|private|credential|dsn$|auth", re.I)
#: In a value: an address with a password.
_LOGIN = re.compile(r"://[^/\s]*:[^/\s]+@")
#: Bytes of a value from which on it is looked for: shorter ones are found in any text.
SHORTEST = 6


def redacted(text: str, *environments: Mapping[str, str | None]) -> str:
    """Replace the values of variables that are secrets, by their names or themselves, by the names.

    Args:
        text: that may quote them.
        environments: where they are set.

    """
    return without(text, secrets(*environments)) if text else text


def secrets(*environments: Mapping[str, str | None]) -> dict[str, str]:
    """Return the values of variables that are secrets, each with what is put in its place."""
    return {
        value: f"<{escaped(name)}>"
        for environment in environments
        for name, value in environment.items()
        if value and len(value) >= SHORTEST and (_SECRET.search(name) or _LOGIN.search(value))
    }


def without(value: Any, known: Mapping[str, str]) -> Any:
    """Replace secrets in a text, or in all texts of a JSON document, keys of objects included.

    Args:
        value: that may quote them.
        known: see `secrets`.

    """
    if isinstance(value, str):
        for secret, name in known.items():
            value = value.replace(secret, name)
        return value
    if isinstance(value, list):
        return [without(one, known) for one in value]
    if isinstance(value, dict):
        return {without(key, known): without(one, known) for key, one in value.items()}
    return value
