"""The health documents of a real run, moment by moment, against the schema that it serves."""

import json
import os
import signal
import time
import urllib.request
from typing import Any

from tests.e2e.running import PATIENCE, App, running
from tests.health_schema import SCHEMA, broken


def get(address: str, path: str) -> Any:
    """Ask for a document."""
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        return json.load(answer)


def asked(app: App, address: str, wanted: str) -> dict[str, Any]:
    """Ask until a document shows what is wanted; every one on the way is checked."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        document: dict[str, Any] = get(address, "/healthz")
        assert broken(document) == []
        if wanted in json.dumps(document):
            return document
        app.command("status")  # takes its time: no need to ask all the time
    raise AssertionError(f"never shown: {wanted}")


def test_documents_of_a_real_run_are_as_the_schema_says() -> None:
    """With queues and nested supervisors; after a crash; with a child that has no slots."""
    with running("examples.orders:tree", health=True) as app:
        app.event("up")
        address = json.loads(app.command("status", "--json").stdout)["snapshot"]["health_address"]
        document = asked(app, address, '"budget_bytes"')  # the arbiter has looked
        schema = document["links"]["describedby"]
        assert get(address, schema) == SCHEMA
        assert document["supervisor"]["queues"]
        child = next(each for each in slots(document["supervisor"]["tree"]) if each["workers"])
        os.kill(child["workers"][0]["pid"], signal.SIGKILL)
        asked(app, address, '"crash_report": "')  # its last exit, with the report
        app.command("scale", child["path"], "0")
        document = asked(app, address, '"state": "stopped"')
        assert app.end() == 0
    document["supervisor"]["tree"]["children"][0].pop("state")
    assert broken(document) != []


def slots(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every child below a node."""
    if "workers" in node:
        return [node]
    return [child for below in node["children"] for child in slots(below)]
