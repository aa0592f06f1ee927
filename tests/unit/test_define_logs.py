"""`Supervisor(logs=...)`: refused where it makes no sense; the command line goes before it."""

import math

import pytest

from supervisor import Logs, Supervisor
from supervisor.cli.log_options import log_settings
from supervisor.declare.define import define
from supervisor.definition import LogsDefinition
from supervisor.errors import DefinitionError
from supervisor.root.log_files import kept, settled

UNSAID = dict.fromkeys(
    ("logs", "log_max_use", "log_keep_free", "log_segment", "log_retention", "log_rate",
     "log_files", "log_level"),
)  # fmt: skip


def said(**options: object) -> LogsDefinition:
    """Return what options of `run` mean."""
    flags = {"no_logs": False, "no_log_compression": False}
    return log_settings({**UNSAID, **flags, **options})


@pytest.mark.parametrize(
    ("options", "problem", "advice"),
    [
        ({"max_use": "much"}, 'max_use is "much"', "64MiB"),
        ({"max_use": 0}, "max_use is 0", "64MiB"),
        ({"segment": -1}, "segment is -1", "64MiB"),
        ({"keep_free": True}, "keep_free is True", "64MiB"),
        ({"segment": "6MiB", "max_use": "10MiB"}, "do not fit", "half of max_use"),
        ({"retention": 0}, "retention is 0", "retention=30.0"),
        ({"retention": "14d"}, 'retention is "14d"', "plain number"),
        ({"rate": -1}, "rate is -1", "rate=10_000"),
        ({"rate": math.inf}, "rate is inf", "0 for no limit"),
        ({"format": "jsno"}, 'format is "jsno"', 'did you mean "json"'),
        ({"compress": 1}, "compress is 1", "True or False"),
        ({"files": None}, "files is None", "True or False"),
        ({"level": "debgu"}, 'level is "debgu"', 'did you mean "debug"'),
        ({"level": 10}, "level is 10", '"debug"'),
        ({"directory": 7}, "directory is 7", "default place"),
        ({"directory": __file__}, "which is none", "name a directory"),
    ],
)
def test_a_bad_value_is_refused(options: dict[str, object], problem: str, advice: str) -> None:
    """With the value, what is allowed, and the place of the declaration."""
    logs = Logs(**options)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError) as caught:
        define(Supervisor("shop", logs=logs))
    text = str(caught.value)
    assert "logs: " in text
    assert problem in text
    assert advice in text
    assert caught.value.where == logs.where
    assert "test_define_logs.py" in logs.where


def test_it_is_a_logs_of_the_root() -> None:
    """Not of a nested supervisor, and no plain dict."""
    with pytest.raises(DefinitionError, match="declared on the root only"):
        define(Supervisor("shop", [Supervisor("inner", logs=Logs())]))
    with pytest.raises(DefinitionError, match=r"allowed: Logs\(\.\.\.\)"):
        define(Supervisor("shop", logs={"max_use": 1}))  # type: ignore[arg-type]


def test_what_is_declared_holds_unless_something_else_is_said(tmp_path: object) -> None:
    """Each setting by itself: of the command line, else of the tree, else the default."""
    logs = Logs(str(tmp_path), max_use="64MiB", segment="1MiB", rate=500, level="Warning")
    declared = define(Supervisor("shop", logs=logs)).logs
    both = settled(said(log_max_use=1 << 20, log_level="debug"), declared)
    assert (both.max_use, both.level) == (1 << 20, "DEBUG")
    files = kept(both, "shop")
    assert files is not None
    assert (files.directory, files.format, files.compress) == (str(tmp_path), "json", True)
    assert (files.limits.max_use, files.limits.segment) == (1 << 20, 1 << 20)
    assert (files.rate.lines, files.limits.retention) == (500, 14 * 86_400)
    unlimited = kept(settled(said(log_rate=0.0), declared), "shop")
    assert unlimited is not None
    assert not unlimited.rate.limited


def test_files_can_be_declined_and_asked_for_on_both_sides(tmp_path: object) -> None:
    """The last word is the user's: --no-logs, or --logs DIR of an app that keeps none."""
    none = define(Supervisor("shop", logs=Logs(files=False))).logs
    some = define(Supervisor("shop", logs=Logs(str(tmp_path)))).logs
    assert kept(settled(said(), none), "shop") is None
    assert kept(settled(said(no_logs=True), some), "shop") is None
    assert kept(settled(said(logs="off"), some), "shop") is None
    assert kept(settled(said(logs=str(tmp_path)), none), "shop") is not None
