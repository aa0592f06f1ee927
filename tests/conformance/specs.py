"""Specs of the scenario language as mappings for the core: milliseconds become seconds."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """The ``start`` of a child spec: the child as the scenario gives it."""

    raw: dict[str, Any]

    @property
    def outcomes(self) -> list[str]:
        """What each start attempt comes to; the last one repeats."""
        given = self.raw.get("start")
        return given if isinstance(given, list) and given else ["ok"]


def child(raw: Any) -> Any:
    """A CHILD as a mapping for the core; what is not a mapping stays as it is, to be refused."""
    if not isinstance(raw, dict):
        return raw
    keys = ("id", "restart", "significant", "type", "modules")
    spec = {key: raw[key] for key in keys if key in raw}
    if "shutdown" in raw:
        spec["shutdown"] = seconds(raw["shutdown"])
    start = raw.get("start", [])
    if isinstance(start, list):
        spec["start"] = Plan(raw)
    elif start is not None:
        spec["start"] = start
    return spec


def children(raw: Any) -> Any:
    """A list of CHILDs; what is not a list stays as it is."""
    return [child(c) for c in raw] if isinstance(raw, list) else raw


def supervisor(raw: Any) -> Any:
    """A SUP as a mapping for the core."""
    if not isinstance(raw, dict):
        return raw
    keys = ("id", "strategy", "intensity", "period", "auto_shutdown")
    spec = {key: raw[key] for key in keys if key in raw}
    return spec | {"children": children(raw.get("children", []))}


def seconds(shutdown: Any) -> Any:
    """OTP's shutdown in seconds. A fraction of a millisecond is refused by OTP, so by us."""
    if isinstance(shutdown, int) and not isinstance(shutdown, bool):
        return shutdown / 1000
    return shutdown if isinstance(shutdown, str) else repr(shutdown)


def tree_ids(raw: Any, supervisors: set[str], parents: dict[str, str]) -> None:
    """Collect the ids below a SUP: which are supervisors, and who is whose parent.

    The template of a simple_one_for_one supervisor is no child.
    """
    if not isinstance(raw, dict) or "id" not in raw:
        return
    supervisors.add(raw["id"])
    if raw.get("strategy") == "simple_one_for_one":
        return
    listed = raw.get("children", [])
    for spec in listed if isinstance(listed, list) else []:
        if isinstance(spec, dict) and "id" in spec:
            parents[spec["id"]] = raw["id"]
            if spec.get("type") == "supervisor":
                tree_ids(spec, supervisors, parents)
