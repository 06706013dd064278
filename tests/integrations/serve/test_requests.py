import math

import pytest

from codequarry.integrations.serve.requests import Limits


def test_a_limit_below_one_is_refused_by_name():
    with pytest.raises(ValueError, match="batch_texts 0 is no limit"):
        Limits(batch_texts=0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1])
def test_a_limit_that_is_no_amount_is_refused(value):
    with pytest.raises(ValueError, match=r"finish_seconds \S+ is no limit"):
        Limits(finish_seconds=value)


def test_a_request_that_could_never_be_taken_is_refused():
    with pytest.raises(ValueError, match="a request may hold 2048 texts, but only 100 may wait"):
        Limits(queue_texts=100)
