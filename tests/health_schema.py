"""The schema of health documents, as it is shipped; and what a document breaks of it."""

import json
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator

SCHEMA = json.loads(files("supervisor.observe").joinpath("health.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def broken(document: Any) -> list[str]:
    """Return where a document is not as the schema says, and how."""
    return [f"{one.json_path}: {one.message}" for one in VALIDATOR.iter_errors(document)]
