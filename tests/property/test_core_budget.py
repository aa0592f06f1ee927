"""The budget of starts: at any nesting, whoever dies, never more than the bucket gives."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.core.budget import SPARE, Bucket, Budget, burst_of, full

BURST, RATE = 20, 5.0


@dataclass
class Node:
    """One supervisor process of a tree: its budget, and the bucket if it is root."""

    parent: "Node | None"
    bucket: Bucket = field(default_factory=lambda: Bucket(BURST, RATE, float(BURST), 0.0))
    budget: Budget = field(default_factory=Budget)
    owed: int = 0  # asked of the bucket
    starts: int = 0
    wanted: int = 0

    def want(self, count: int, now: float) -> None:
        """So many of its children have to be restarted."""
        self.wanted += count
        for _ in range(count):
            self.budget.want(self)
        self.settle(now)

    def settle(self, now: float) -> None:
        """Hand out what there is, and ask for what is missing, as far up as it takes."""
        while True:
            for who, tokens in self.budget.grants():
                assert isinstance(who, Node)
                if who is self:
                    assert tokens == 1
                    self.starts += 1
                else:
                    who.budget.add(tokens)
                    who.settle(now)
            missing = self.budget.shortage()
            if self.parent is None:
                self.owed += missing
                self.bucket, taken = self.bucket.take(self.owed, now)
                self.owed -= taken
                self.budget.add(taken)
                if not taken:
                    return
            elif missing:
                self.parent.budget.want(self, missing)
                self.parent.settle(now)
                return
            else:
                return

    def reborn(self) -> None:
        """It was killed, and its successor knows nothing of its tokens."""
        assert self.parent is not None
        self.parent.budget.withdraw(self)
        self.budget = Budget()
        self.wanted = self.starts  # what waited died with it


shapes = st.lists(st.integers(0, 5), min_size=1, max_size=6)
moves = st.lists(
    st.tuples(
        st.sampled_from(["crash", "crash", "wait", "die"]),
        st.integers(0, 6),
        st.integers(1, 30),
    ),
    max_size=40,
)


def tree(shape: list[int]) -> list[Node]:
    """Build a tree: each number says which of the nodes so far is the parent."""
    nodes = [Node(None)]
    nodes[0].budget = Budget(spare=0)
    for number in shape:
        nodes.append(Node(nodes[number % len(nodes)]))
    return nodes


@given(shapes, moves)
@settings(max_examples=3 * settings.default.max_examples)
def test_starts_never_exceed_the_bucket_at_any_nesting(
    shape: list[int], steps: list[tuple[str, int, int]]
) -> None:
    """In every span of time, for the whole tree: ≤ burst + rate x seconds + spares held before."""
    nodes, now = tree(shape), 0.0
    history = [(0.0, 0, 0)]
    for move, which, amount in steps:
        node = nodes[which % len(nodes)]
        if move == "crash":
            node.want(amount, now)
        elif move == "wait":
            now += amount / 10
            nodes[0].settle(now)
        elif node.parent is not None:
            node.reborn()
        total = sum(node.starts for node in nodes)
        for then, before, held in history:
            assert total - before <= BURST + RATE * (now - then) + held + 1e-6
        history.append((now, total, sum(node.budget.tokens for node in nodes)))


@given(shapes, st.lists(st.tuples(st.integers(0, 6), st.integers(1, 30)), max_size=10))
@settings(max_examples=100)
def test_everybody_is_started_in_the_end(shape: list[int], crashes: list[tuple[int, int]]) -> None:
    """Nobody waits for ever, and the spares that are kept are all that it costs besides."""
    nodes = tree(shape)
    for which, count in crashes:
        nodes[which % len(nodes)].want(count, 0.0)
    total = sum(count for _, count in crashes)
    longest = (total + SPARE * len(nodes) * (len(crashes) + 1)) / RATE
    for tick in range(int(longest * 10) + 20):
        nodes[0].settle(tick / 10)
    assert sum(node.starts for node in nodes) == total


@given(st.integers(1, 20), st.integers(21, 200))
def test_who_wants_little_does_not_wait_for_who_wants_much(few: int, many: int) -> None:
    """Short of tokens, each gets one in turn."""
    budget = Budget()
    budget.want("much", many)
    budget.want("little", few)
    budget.add(2 * few)
    got = dict.fromkeys(("much", "little"), 0)
    for who, tokens in budget.grants():
        assert isinstance(who, str)
        got[who] += tokens
    assert got == {"much": few, "little": few}


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 200)), min_size=1, max_size=8))
def test_a_bucket_that_is_resized_gives_no_more_than_it_holds(steps: list[tuple[int, int]]) -> None:
    """What was used stays used, however often it is made smaller and larger by turns."""
    bucket = full(0, 0.0, burst=BURST, rate=RATE)
    largest, total = bucket.burst, 0
    for slots, wanted in steps:
        size = burst_of(slots, BURST)
        bucket = bucket.resized(size)
        assert bucket.burst == size >= max(BURST, 2 * slots)
        largest = max(largest, size)
        bucket, taken = bucket.take(wanted, 0.0)
        assert taken == min(wanted, max(0, size - total))
        total += taken
        assert total <= largest
    assert bucket.take(1, bucket.wait)[1] == 1
