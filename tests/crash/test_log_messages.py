"""A record says which message it is about, without the author doing anything for it."""

from collections.abc import Iterator

import pytest

from tests.crash.app_harness import App
from tests.crash.apps.logging_messages import KINDS, MESSAGES, trace


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One run of the app."""
    with App("logging_messages:tree", tmp_path_factory.mktemp("l")) as app:
        yield app.up()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("logger", ["ours", "theirs"])
def test_a_record_names_its_message_trace_and_process(app: App, kind: str, logger: str) -> None:
    """Serial, in lanes of threads, in tasks, in batches; by structlog and by `logging`."""
    path = f"logged/{kind}.0"
    records = app.wait_until(
        lambda: found if len(found := app.find(path=path, logger=logger)) == 2 * MESSAGES else None
    )
    assert sorted(record["number"] for record in records) == sorted([*range(MESSAGES)] * 2)
    assert len({record["message_id"] for record in records}) == MESSAGES
    worker = app.worker(path)
    for record in records:
        assert record["message_id"] == record["expected"]
        assert record["trace_id"] == trace(record["number"])
        source = record["source"]
        assert (source["path"], source["incarnation"], source["pid"]) == (path, 1, worker.pid)


def test_a_record_about_no_message_names_none(app: App) -> None:
    """Outside of a handler there is nothing to name."""
    (record,) = app.wait_until(lambda: app.find(path="logged/put-serial.0", event="putting"))
    assert not {"message_id", "trace_id"} & record.keys()
