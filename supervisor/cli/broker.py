"""Asking the queues of a running app, and reading what they answer."""

from typing import Any

import msgspec

from supervisor.cli.report import Problem
from supervisor.control.client import ControlClient, accepted
from supervisor.control.messages import QueueAnswer, QueueCommand

#: What the broker says is not there.
EXIT_NO_SUCH = 4
#: Characters of a message that a table shows.
SHOWN = 60


def ask_queues(control: str, command: QueueCommand, timeout: float) -> Any:
    """Have the broker do something; return its answer.

    Raises:
        CommandFailed: root, or the broker, says why not.
        Problem: the broker refused it.

    """
    with ControlClient(control, timeout) as client:
        reply = accepted(client.request(command))
    assert isinstance(reply, QueueAnswer)
    answer = msgspec.msgpack.decode(reply.body)
    if isinstance(answer, dict) and answer.get("error"):
        code = str(answer.get("code", "refused"))
        exit_code = EXIT_NO_SUCH if code.startswith("no-such-") else 1
        raise Problem(str(answer["error"]), code=code, exit_code=exit_code)
    return answer


def queue_statistics(control: str, timeout: float) -> list[dict[str, Any]]:
    """Return what every queue says of itself."""
    found: list[dict[str, Any]] = ask_queues(control, QueueCommand("stats"), timeout)
    return found


def message_of(encoded: bytes, size: int) -> object:
    """Make what JSON can show of an encoded message; as hexadecimal if it is not MessagePack.

    Nothing of it is ever run: a pickled message is shown as its bytes.
    """
    if len(encoded) == size:
        try:
            return _shown(msgspec.msgpack.decode(encoded))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    return {"bytes": encoded.hex(), "size": size}


def _shown(value: object) -> object:
    """Replace what JSON cannot say."""
    match value:
        case dict():
            return {str(_shown(key)): _shown(item) for key, item in value.items()}
        case list():
            return [_shown(item) for item in value]
        case bytes():
            return value.hex()
        case str() | bool() | int() | float() | None:
            return value
    return str(value)
