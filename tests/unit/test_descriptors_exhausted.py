"""Root without descriptors: noted each time, told now and then."""

import logging
import time
from typing import Any

import pytest

from supervisor import descriptors
from supervisor.descriptors import Exhaustion


def test_it_is_told_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning with the limit and what to do; when it was last is known to the moment."""
    clock, records = 1000.0, list[tuple[int, str, dict[str, Any]]]()
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    monkeypatch.setattr(time, "time", lambda: clock + 5000)
    exhaustion = Exhaustion(lambda level, event, **fields: records.append((level, event, fields)))
    assert exhaustion.at is None
    for _ in range(100):
        exhaustion.noticed()
    clock += descriptors.COMPLAINT_INTERVAL - 1
    exhaustion.noticed()
    assert exhaustion.at == clock + 5000
    ((level, event, fields),) = records
    assert (level, event) == (logging.WARNING, "out of file descriptors")
    assert fields["limit"] > 0
    assert "ulimit -n" in fields["help"]
    clock += 1
    exhaustion.noticed()
    assert len(records) == 2
