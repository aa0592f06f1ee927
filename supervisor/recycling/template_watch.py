"""The arbiter's eye on the templates of the release: measures them, and says when one is due."""

from supervisor.core.template_turn import Due, TemplatePolicy, TemplateView, Turns, decide, limit
from supervisor.definition import SupervisorDefinition
from supervisor.observe.snapshot import Snapshot
from supervisor.process import sample
from supervisor.recycling.report import TemplateReport


class TemplateWatch:
    """Remembers from one look to the next what is known of the templates."""

    def __init__(self, tree: SupervisorDefinition) -> None:
        self._policy = TemplatePolicy(tree.template_max_age, tree.template_growth)
        self._turns = Turns()
        self.reports: list[TemplateReport] = []

    @property
    def is_blocked(self) -> bool:
        """Whether a template is due, and another one did not take over."""
        return self._turns.is_blocked

    def look(self, snapshot: Snapshot, now: float) -> Due | None:
        """Measure them; returns why another one is to take over now, if so.

        Args:
            snapshot: of the app.
            now: monotonic float seconds.

        """
        views = [
            TemplateView(one.pid, one.state, one.age, sample.own_bytes(one.pid))
            for one in snapshot.templates
        ]
        due = None
        if snapshot.phase == "running":
            self._turns, due = decide(self._turns, views, self._policy, now)
        counts = {one.pid: one.processes for one in snapshot.templates}
        self.reports = [self._report(view, counts[view.pid]) for view in views]
        return due

    @property
    def age_left(self) -> float:
        """Seconds until the one that serves is too old; inf: it never is, or is so by now."""
        left = [
            one.max_age - one.age
            for one in self.reports
            if one.state == "serving" and one.max_age is not None
        ]
        return min((seconds for seconds in left if seconds > 0), default=float("inf"))

    def _report(self, view: TemplateView, processes: int) -> TemplateReport:
        fresh = self._turns.fresh if view.pid == self._turns.pid else None
        most = None if fresh is None else limit(fresh, self._policy)
        return TemplateReport(
            pid=view.pid,
            state=view.state,
            age=round(view.age, 3),
            max_age=_finite(self._policy.max_age),
            processes=processes,
            own=view.own,
            fresh=fresh,
            limit=None if most is None or most == float("inf") else round(most),
        )


def _finite(value: float) -> float | None:
    return None if value == float("inf") else value
