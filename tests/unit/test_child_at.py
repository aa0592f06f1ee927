"""Finding the author's declaration of a process that is to be started."""

import pytest

from supervisor import Child, Supervisor
from supervisor.process.app import child_at

TREE = Supervisor("shop", [Child("web", print), Supervisor("pay", [Child("charge", print)])])


def test_a_child_is_found_by_its_path() -> None:
    """Through nested supervisors, too."""
    assert child_at(TREE, "shop/web").name == "web"
    assert child_at(TREE, "shop/pay/charge").name == "charge"


@pytest.mark.parametrize(
    "path", ["shop", "shop/gone", "shop/pay", "shop/web/charge", "shop/gone/a"]
)
def test_a_child_that_this_version_has_not_is_a_lookup_error(path: str) -> None:
    """After a reload a spare may be meant for what is not declared any more: no traceback."""
    with pytest.raises(LookupError, match=f"no child {path}$"):
        child_at(TREE, path)
