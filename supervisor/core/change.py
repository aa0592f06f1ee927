"""Changing the flags and child specs of a running supervisor.

Nothing is started or stopped. New flags hold at once and the restart times are kept; a spec with a
known id replaces the old one and keeps its process; new ids are there as UNDEFINED; ids that are
missing stay, behind all new ones. Any error leaves everything as it was.

Source: OTP stdlib ``supervisor``, ``code_change/3`` and ``update_childspec/2``.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from supervisor.core import validate
from supervisor.core.child import Child
from supervisor.core.results import Error, Ok
from supervisor.core.spec import ChildSpec, Strategy
from supervisor.core.state import Draft
from supervisor.core.validate import SpecError


def refusal(error: SpecError) -> Error:
    """A refused spec as the answer to a call; the detail is OTP's where OTP gives one."""
    shown = error.code in ("bad_combination", "duplicate_child_name")
    return Error(error.code, error.detail if shown else "")


def change_spec(draft: Draft, spec: Mapping[str, Any] | None) -> Ok | Error:
    """Apply a new spec (a mapping as for boot), or None for "no change"."""
    if spec is None:
        return Ok()
    flags = validate.flags(spec)
    if isinstance(flags, SpecError):
        return Error("bad_flags") if flags.code == "invalid_type" else refusal(flags)
    children = validate.children(spec.get("children", ()), flags.auto_shutdown)
    if isinstance(children, SpecError):
        return refusal(children)
    simple = flags.strategy is Strategy.SIMPLE_ONE_FOR_ONE
    # OTP's own process would crash when it is made simple, or stops being so: refused here.
    if simple != draft.simple or (simple and len(children) != 1):
        return Error("bad_simple_spec")
    if simple:
        _new_template(draft, children[0])
    else:
        _new_children(draft, children)
    draft.spec = replace(flags, id=draft.spec.id, children=children)
    return Ok()


def _new_template(draft: Draft, template: ChildSpec) -> None:
    for name, child in draft.children.items():
        spec = replace(template, id=name, start=child.spec.start)
        draft.children[name] = child._replace(spec=spec)


def _new_children(draft: Draft, specs: tuple[ChildSpec, ...]) -> None:
    old = draft.children
    new = {
        spec.id: old[spec.id]._replace(spec=spec) if spec.id in old else Child(spec)
        for spec in specs
    }
    kept = {name: child for name, child in old.items() if name not in new}
    draft.children = new | kept
