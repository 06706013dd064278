import pytest

from codequarry.data.mining.schema import KINDS, checked_kinds
from codequarry.modules.tasks import TASKS


def test_every_kind_trains_one_of_the_five_tasks_and_says_what_it_pairs():
    for name, kind in KINDS.items():
        assert kind.name == name
        assert kind.task in TASKS
        assert kind.query != kind.document


def test_kinds_come_once_and_in_the_order_of_the_table():
    assert checked_kinds(["commit", "docstring", "commit"]) == ("docstring", "commit")


def test_another_name_is_refused_with_the_nearest_right_one():
    with pytest.raises(ValueError, match="Did you mean 'commit'"):
        checked_kinds(["commits"])
    with pytest.raises(ValueError, match="No kind"):
        checked_kinds([])
