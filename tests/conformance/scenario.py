"""Runs one scenario of the recordings in a world, and observes it after every operation."""

from typing import Any

from supervisor.core import validate
from supervisor.core.change import refusal
from supervisor.core.events import (
    ChangeSpec,
    CountChildren,
    DeleteChild,
    GetChildSpec,
    Handle,
    Request,
    RestartChild,
    StartChild,
    TerminateChild,
    WhichChildren,
)
from tests.conformance import observation, specs
from tests.conformance.world import World

Json = dict[str, Any]


class Scenario:
    """A scenario under way: the world it runs in, and every id it has named so far."""

    def __init__(self, scenario: Json, world: World) -> None:
        self.tree: Json = scenario["tree"]
        self.ops: list[Json] = scenario["ops"]
        self.world = world
        self.supervisors: set[str] = set()
        self.parents: dict[str, str] = {}
        self.declared: set[str] = set()  # the ids of the tree as it was to be booted
        self.templates: dict[str, Json] = {}  # of simple_one_for_one supervisors, by their id
        self.successes: dict[str, int] = {}

    def run(self) -> list[Json]:
        """The observations: one after the start, one after each operation."""
        self.learn(self.tree)
        self.declared.update(self.parents)
        observed = [self.observe(self.world.boot(self.tree))]
        observed.extend(self.observe(self.perform(op)) for op in self.ops)
        return observed

    def learn(self, tree: Any) -> None:
        """Note the ids of a supervisor's spec."""
        specs.tree_ids(tree, self.supervisors, self.parents)
        self._learn_templates(tree)

    def _learn_templates(self, tree: Any) -> None:
        if not isinstance(tree, dict) or not isinstance(tree.get("children"), list):
            return
        children = [c for c in tree["children"] if isinstance(c, dict)]
        if tree.get("strategy") == "simple_one_for_one" and children and "id" in tree:
            self.templates[tree["id"]] = children[0]
        for child in children:
            self._learn_templates(child)

    def learn_child(self, op: Json) -> None:
        """Note the id of a child that was added; one whose spec was refused was never there."""
        child = op["child"]
        if not isinstance(child, dict) or self.world.attempts(child.get("id", "")) == 0:
            return
        self.parents.setdefault(child["id"], op["sup"])
        if self.templates.get(op["sup"], child).get("type") == "supervisor":
            self.learn(child)

    # --- operations ----------------------------------------------------------------------------

    def perform(self, op: Json) -> Any:
        """Do one operation, wait until everything is at rest, and give its ``ret``."""
        match op["op"]:
            case "sleep":
                self.world.sleep(op["ms"] / 1000)
                return "ok"
            case "check_childspecs":
                return self.check(op)
            case "exit":
                return self.exit(op)
            case "stop":
                if not self.world.running("root"):
                    return "skip"
                self.world.shut_down()
                self.world.settle()
                return self.root_reason()
            case _:
                self.world.call(op["sup"], self.request(op))
                return self.answered(op, self.world.settle()[0])

    def check(self, op: Json) -> str:
        """Validation alone: needs no supervisor."""
        error = validate.check_childspecs(specs.children(op["specs"]), op.get("auto_shutdown"))
        return "ok" if error is None else f"error:{refusal(error)}"

    def exit(self, op: Json) -> Any:
        """A process ends by itself, perhaps with calls sent while it is started again."""
        child = op["child"]
        if not self.world.running(child):
            return "skip"
        then = op.get("then", [])
        self.world.end(child, op["reason"], [self.addressed(call) for call in then])
        answers = self.world.settle()
        if not then:
            return "ok"
        return [
            self.root_reason() if call["op"] == "stop" else self.answered(call, answer)
            for call, answer in zip(then, answers, strict=True)
        ]

    def addressed(self, call: Json) -> tuple[str, Request | None]:
        """A call as the world sends it."""
        if call["op"] == "stop":
            return "root", None
        return call["sup"], self.request(call)

    def root_reason(self) -> str:
        """The exit reason of root."""
        return self.world.status("root").removeprefix("dead:")

    def request(self, op: Json) -> Request:
        """A call as a request to the core."""
        match op["op"]:
            case "start_child":
                return StartChild(specs.child(op["child"]))
            case "terminate_child":
                return TerminateChild(op["id"], self.handle(op))
            case "restart_child":
                return RestartChild(op["id"])
            case "delete_child":
                return DeleteChild(op["id"])
            case "get_childspec":
                return GetChildSpec(op["id"], self.handle(op))
            case "which_children":
                return WhichChildren()
            case "count_children":
                return CountChildren()
            case "change_spec":
                return ChangeSpec(None if op["spec"] is None else specs.supervisor(op["spec"]))
            case other:
                raise ValueError(f"unknown operation {other!r}")

    def handle(self, op: Json) -> Handle:
        """Whether the name in a call is the handle of a process (OTP: a pid), and of a live one."""
        if self.world.holder(op["id"]) not in self.templates or not self.started(op["id"]):
            return Handle.NONE  # only instances are known by a handle, once there was a process
        return Handle.LIVE if self.world.running(op["id"]) else Handle.DEAD

    def started(self, child: str) -> bool:
        """Whether a process of this id was ever up."""
        seen = any(trace.kind == "start" and trace.id == child for trace in self.world.traces)
        return seen or child in self.successes

    # --- what is seen --------------------------------------------------------------------------

    def answered(self, op: Json, answer: Any) -> Any:
        """The ``ret`` of a call; a restarting instance has no handle to be shown by."""
        value = observation.ret(op, answer)
        if op["op"] == "change_spec" and value == "ok":
            self.learn(op["spec"])
        if op["op"] == "start_child":
            self.learn_child(op)
        if op["op"] == "which_children" and op["sup"] in self.templates and value != "error:noproc":
            shown = [["?" if state == "restarting" else name, state] for name, state in value]
            return sorted(shown)
        return value

    def observe(self, ret: Any) -> Json:
        """What happened since the last observation, and how things are now."""
        world = self.world
        for trace in world.traces:
            if trace.kind == "start":
                self.successes[trace.id] = self.successes.get(trace.id, 0) + 1
        seen: Json = {
            "ret": ret,
            "events": observation.events(world.traces),
            "children": self.children(),
            "sups": {sup: world.status(sup) for sup in sorted(self.supervisors)},
        }
        if world.reports:
            seen["reports"] = [
                observation.report(sup, line, self.templates.get(sup, {}).get("id"))
                for sup, line in world.reports
            ]
        world.traces = []
        world.reports = []
        return seen

    def children(self) -> Json:
        """What its supervisor says of each child, and how often it started and was to start.

        A child that was only ever added as a spec is seen for as long as that spec is kept.
        """
        said = {sup: self.world.states(sup) for sup in set(self.parents.values())}
        seen: Json = {}
        for child, parent in sorted(self.parents.items()):
            state = said[parent].get(child, "gone")
            attempts = self.world.attempts(child)
            if child in self.declared or attempts or state != "gone":
                seen[child] = [state, self.successes.get(child, 0), attempts]
        return seen
