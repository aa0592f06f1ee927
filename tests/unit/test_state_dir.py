"""Where durable queues are kept, and whom that has to be closed to."""

import os
from pathlib import Path

import pytest

from supervisor.errors import DefinitionError
from supervisor.root.state_dir import prepare, state_dir


def test_the_choice_of_the_user_counts(tmp_path: Path) -> None:
    """What was chosen is the directory itself, whatever the environment says."""
    chosen = str(tmp_path / "here")
    assert state_dir("shop", chosen, {"XDG_STATE_HOME": "/elsewhere"}) == chosen


def test_it_is_found_by_the_name(tmp_path: Path) -> None:
    """Without a choice it is in the state home, by the app's name."""
    found = state_dir("shop", None, {"XDG_STATE_HOME": str(tmp_path)})
    assert found == str(tmp_path / "letitcrash" / "shop")


def test_a_relative_state_home_is_none() -> None:
    """A state home that is no absolute path is ignored, as its specification says."""
    assert os.path.isabs(state_dir("shop", None, {"XDG_STATE_HOME": "here"}))


def test_it_is_closed_to_others(tmp_path: Path) -> None:
    """It is made for us alone, and made once."""
    path = str(tmp_path / "a" / "b")
    assert prepare(prepare(path)) == path
    assert os.stat(path).st_mode & 0o777 == 0o700


def test_one_that_others_can_change_is_refused(tmp_path: Path) -> None:
    """A directory in which others can put files is no place for messages."""
    path = tmp_path / "open"
    path.mkdir()
    path.chmod(0o777)
    with pytest.raises(DefinitionError, match="others can change"):
        prepare(str(path))


def test_one_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """Where there is a file there can be no directory: that is said, with what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(DefinitionError, match="no place"):
        prepare(str(tmp_path / "file" / "state"))
