"""Keeping secrets of the environment out of reports: no values of it are put in, but a message may
quote one, as a connection that fails quotes the address it was given.
"""

import re
from collections.abc import Mapping

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
    for environment in environments if text else ():
        for name, value in environment.items():
            is_secret = _SECRET.search(name) or _LOGIN.search(value or "")
            if is_secret and value and len(value) >= SHORTEST and value in text:
                text = text.replace(value, f"<{escaped(name)}>")
    return text
