import math

import pytest

from codequarry.release.json_values import is_number, is_whole, shown


@pytest.mark.parametrize("value", [None, True, 0, -1, 1.0, "1", [1], 10**400])
def test_what_is_no_size_of_a_model_is_not_whole(value):
    assert not is_whole(value)
    assert is_whole(1)


@pytest.mark.parametrize("value", [None, True, "1", [1.0], math.nan, math.inf, 10**400])
def test_what_cannot_be_reckoned_with_is_no_number(value):
    assert not is_number(value)
    assert is_number(0)
    assert is_number(-1.5)


def test_a_value_is_shown_as_json_and_never_without_end():
    assert shown({"a": None, "b": [True, "\u00e9"]}) == '{"a": null, "b": [true, "\\u00e9"]}'
    assert shown(math.inf) == "Infinity"
    for value in (10**4000, "x" * 9000, ["x"] * 9000, {"x": "y" * 9000}):
        assert len(shown(value)) <= 60
