"""Supervisors and requests as hypothesis makes them: specs, trees, what callers may ask for."""

from dataclasses import replace

from hypothesis import strategies as st

from supervisor.core.events import (
    ChangeSpec,
    CountChildren,
    DeleteChild,
    GetChildSpec,
    Recycle,
    Request,
    RestartChild,
    Scale,
    StartChild,
    TerminateChild,
    WhichChildren,
)
from supervisor.core.exits import KILLED, NORMAL, SHUTDOWN, ExitKind, ExitReason
from supervisor.core.spec import (
    AutoShutdown,
    Backoff,
    ChildSpec,
    Restart,
    Strategy,
    SupervisorSpec,
)

CRASH = ExitReason(ExitKind.CRASH, "crash")
REASONS = st.sampled_from([NORMAL, SHUTDOWN, KILLED, CRASH])
NAMES = st.sampled_from(["a", "b", "p.0", "p.1", "p.2", "c", "t"])
GROUPED = (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE)


def child_specs(name: str) -> st.SearchStrategy[ChildSpec]:
    """Specs of one child, additions included; the names p.N are slots of a pool."""
    return st.builds(
        ChildSpec,
        id=st.just(name),
        start=st.just("m:f"),
        restart=st.sampled_from(Restart),
        shutdown=st.sampled_from([None, 0, 5.0, float("inf")]),
        pool=st.just("p" if name.startswith("p.") else None),
        start_timeout=st.sampled_from([None, 3.0]),
        backoff=st.sampled_from([None, None, Backoff(base=0.5, cap=4.0)]),
        give_up_after=st.sampled_from([None, None, 1, 3]),
    )


def significant(spec: ChildSpec, mode: AutoShutdown, flag: bool) -> ChildSpec:
    """The spec, marked significant where that is allowed."""
    allowed = mode is not AutoShutdown.NEVER and spec.restart is not Restart.PERMANENT
    return replace(spec, significant=flag and allowed)


@st.composite
def trees(draw: st.DrawFn, strategy: Strategy) -> SupervisorSpec:
    """Supervisors with up to five children."""
    simple = strategy is Strategy.SIMPLE_ONE_FOR_ONE
    mode = AutoShutdown.NEVER if simple else draw(st.sampled_from(AutoShutdown))
    names = ["t"] if simple else draw(st.sampled_from([["a", "b", "c"], ["a", "p.0", "p.1", "b"]]))
    children = tuple(
        significant(draw(child_specs(name)), mode, draw(st.booleans())) for name in names
    )
    intensity = draw(st.sampled_from([0, 1, 2, 5]))
    return SupervisorSpec("s", strategy, intensity, 5, mode, children)


REQUESTS: st.SearchStrategy[Request] = st.one_of(
    NAMES.flatmap(lambda name: st.builds(StartChild, child_specs(name))),
    st.builds(TerminateChild, NAMES),
    st.builds(RestartChild, NAMES),
    st.builds(DeleteChild, NAMES),
    st.builds(GetChildSpec, NAMES),
    st.just(WhichChildren()),
    st.just(CountChildren()),
    st.builds(
        Recycle, NAMES, st.just("age"), st.sampled_from([0.0, 2.0]), st.sampled_from([None, 30.0])
    ),
    st.builds(Recycle, NAMES, st.just("age")),
    st.builds(Scale, st.just("p"), st.integers(-1, 4)),
    st.builds(
        lambda strategy, names: ChangeSpec(
            {"strategy": strategy, "children": [{"id": n, "start": "m:f"} for n in names]}
        ),
        st.sampled_from(["one_for_one", "one_for_all", "rest_for_one", "simple_one_for_one"]),
        st.lists(NAMES, max_size=3, unique=True),
    ),
    st.just(ChangeSpec(None)),
)
