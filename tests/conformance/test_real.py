"""A sample of the recordings of Erlang/OTP's supervisor, over the real shell and real processes."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import replay, sample
from tests.conformance.real import Engine, RealWorld
from tests.conformance.scenario import Scenario

DATA = Path(__file__).parent / "data" / "public.jsonl"
SAMPLE = sample.sample(list(replay.read(DATA)))


class Engines:
    """One engine for all scenarios, and a new one after a scenario that came to no end."""

    def __init__(self) -> None:
        self.engine = Engine()

    def observe(self, scenario: dict[str, Any], site: Path) -> list[dict[str, Any]]:
        """Run a scenario."""
        world = RealWorld(self.engine, site)
        try:
            observed = Scenario(scenario, world).run()
            world.close()
        except BaseException:
            self.engine.close()
            self.engine = Engine()
            raise
        return observed


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    """Start the templates once; they find this package wherever the tests are run from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        engines = Engines()
        yield engines
        engines.engine.close()


@pytest.fixture
def site() -> Iterator[Path]:
    """Make a directory whose name is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="otp-"))
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("line", SAMPLE, ids=[line["name"] for line in SAMPLE])
def test_recording(line: dict[str, Any], engines: Engines, site: Path) -> None:
    """Real supervisors and workers do what OTP's did: results, events, states and reports."""
    observed = engines.observe(line["scenario"], site)
    why = replay.difference(line["expected"], observed)
    assert why is None, f"{why}\n{json.dumps(line['scenario'])}"


def test_the_sample_covers_what_there_is() -> None:
    """Every strategy, restart type, way to stop and outcome of a start is in it."""
    assert len(SAMPLE) >= 60
    assert {sample.strategy(line) for line in SAMPLE} == set(sample.STRATEGIES)
    shown = set().union(*(sample.features(line) for line in SAMPLE))
    assert shown >= {
        *("permanent", "transient", "temporary", "significant"),
        *("any_significant", "all_significant"),
        *("start ok", "start fail", "start ignore"),
        *("shutdown brutal_kill", "shutdown 50", "met with ignore", "met with crash"),
        *("exit normal", "exit crash", "exit kill", "nested 2"),
    }
