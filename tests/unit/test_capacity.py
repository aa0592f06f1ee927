"""Lost capacity: counted while a slot was meant to serve and did not."""

from supervisor.shell.capacity import Capacity


def test_a_gap_counts_from_the_end_to_the_next_ready_process() -> None:
    """By the clock that is not set; the other one is shown."""
    account = Capacity()
    account.update(False, True, 0.0, 500.0)
    assert account.lost_since is None, "it has not begun to serve"
    account.update(True, True, 1.0, 501.0)
    account.update(False, True, 5.0, 505.0)
    assert account.lost_since == 505.0
    account.update(False, True, 6.0, 9999.0)
    account.update(True, True, 7.5, 9999.0)
    assert (account.lost, account.lost_since) == (2.5, None)


def test_a_slot_that_was_stopped_on_purpose_loses_nothing() -> None:
    """An operator's word ends the account of a gap."""
    account = Capacity()
    account.update(True, True, 0.0, 0.0)
    account.update(False, False, 1.0, 1.0)
    account.update(True, True, 9.0, 9.0)
    assert account.lost == 0.0
