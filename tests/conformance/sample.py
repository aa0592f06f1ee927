"""Which recordings real processes can do, and the sample of them that is run every time.

Left out is what has no equivalent between processes, or takes long: an end with OTP's reasons
``shutdown`` or ``{shutdown, Term}`` by itself, any way to meet a request to stop that ends with
another of OTP's normal reasons, calls sent while a start is under way (this shell serves them at
once, see docs/otp-conformance.md), the death of root (it is the test), specs that are not valid
(nothing is run of them), and waits of seconds.
"""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one", "simple_one_for_one")
REASONS = {"normal", "crash", "kill"}
INVALID = "error:invalid,error:missing,error:bad,error:duplicate,error:start_spec,error:supervisor"
#: The longest a scenario may sleep, and wait for a worker that does not end, in milliseconds.
SLEEP, SHUTDOWN = 500, 100
#: Recordings of each (strategy, feature).
EACH = 2
#: Seconds in which OTP counts restarts must not end in mid-scenario.
PERIOD = 5


def specs(raw: Any) -> Iterator[Any]:
    """Walk through a spec and all below it."""
    yield raw
    if isinstance(raw, dict) and isinstance(raw.get("children"), list):
        for child in raw["children"]:
            yield from specs(child)


def all_specs(scenario: Json) -> Iterator[Any]:
    """Walk through every spec of a scenario."""
    yield from specs(scenario["tree"])
    for op in scenario["ops"]:
        yield from specs(op["child"]) if op["op"] == "start_child" else ()
        yield from specs(op["spec"]) if op.get("spec") is not None else ()


def possible(line: Json) -> bool:
    """Whether real processes can do it, and soon."""
    scenario = line["scenario"]
    refusals = tuple(INVALID.split(","))
    if "invalid" in line["tags"] or any(
        str(seen["ret"]).startswith(refusals) for seen in line["expected"]
    ):
        return False
    asleep = sum(op["ms"] for op in scenario["ops"] if op["op"] == "sleep")
    if asleep > SLEEP or "start" in scenario["tree"]:
        return False
    return all(_valid(spec) for spec in all_specs(scenario)) and all(
        _doable(op) for op in scenario["ops"]
    )


def _doable(op: Json) -> bool:
    if op["op"] == "exit":
        return op["reason"] in REASONS and op["child"] != "root" and "then" not in op
    return op["op"] != "check_childspecs"


def _valid(spec: Any) -> bool:
    if not isinstance(spec, dict) or "id" not in spec:
        return False
    period = spec.get("period", PERIOD)
    if not isinstance(period, int) or period < PERIOD:
        return False
    return not isinstance(spec.get("start", []), str) and _ends_soon(spec)


def _ends_soon(spec: Json) -> bool:
    way = spec.get("on_shutdown", "obey")
    if way == "ignore":
        shutdown = spec.get("shutdown", 5000)
        return shutdown == "brutal_kill" or (isinstance(shutdown, int) and shutdown <= SHUTDOWN)
    return way in ("obey", "crash") or isinstance(way, dict)


def features(line: Json) -> set[str]:
    """Name what a recording shows."""
    found = set()
    nested = 0
    for spec in all_specs(line["scenario"]):
        found.add(spec.get("restart", "permanent") if "strategy" not in spec else "supervisor")
        found.update(f"start {outcome}" for outcome in spec.get("start") or ())
        found.add(f"shutdown {spec.get('shutdown')}" if "shutdown" in spec else "shutdown")
        found.add(f"met with {str(spec.get('on_shutdown', 'obey'))[:8]}")
        found.add(str(spec.get("auto_shutdown", "never")))
        found.update(["significant"] if spec.get("significant") else ())
        nested += spec.get("type") == "supervisor"
    found.add(f"nested {min(nested, 2)}")
    for op in line["scenario"]["ops"]:
        below = " below root" if op.get("sup", "root") != "root" else ""
        found.add(f"{op['op']} {op.get('reason', '')}{below}".strip())
    found.update(f"tag {tag}" for tag in line["tags"])
    return found


def strategy(line: Json) -> str:
    """Name the strategy of root."""
    return str(line["scenario"]["tree"].get("strategy", "one_for_one"))


def sample(lines: list[Json]) -> list[Json]:
    """Choose, in the order of the file, whatever shows something not yet shown `EACH` times."""
    shown: dict[tuple[str, str], int] = {}
    chosen = []
    for line in filter(possible, lines):
        pairs = {(strategy(line), feature) for feature in features(line)}
        if any(shown.get(pair, 0) < EACH for pair in pairs):
            chosen.append(line)
            for pair in pairs:
                shown[pair] = shown.get(pair, 0) + 1
    return chosen
