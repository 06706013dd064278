from dataclasses import replace

import pytest

from codequarry.release.compare import Distance
from codequarry.release.runtimes import KINDS
from codequarry.release.tolerances import KNOWN_DIFFERENCES, TOLERANCES, known_difference

FOUND = Distance("ordinary", "float32", "right", 1, 64, 1e-7, 1.0, "x")


@pytest.mark.parametrize("row", TOLERANCES.values(), ids=str)
def test_every_precision_is_held_to_something_and_says_what_was_measured(row):
    assert (row.absolute_difference is None) != (row.cosine is None)
    assert row.measured[0].isdigit()


@pytest.mark.parametrize("precision", TOLERANCES)
def test_nan_is_never_within_a_tolerance(precision):
    nan = float("nan")
    assert TOLERANCES[precision].allows(FOUND)
    assert not TOLERANCES[precision].allows(replace(FOUND, absolute_difference=nan, cosine=nan))


def test_float32_is_held_to_its_numbers_and_less_to_a_cosine():
    far = replace(FOUND, absolute_difference=2e-5, cosine=0.99995)
    assert not TOLERANCES["float32"].allows(far)
    assert TOLERANCES["float32"].miss(far) == "2.0e-05 from the golden vector, 1e-05 allowed,"
    assert TOLERANCES["bfloat16"].allows(far)
    assert TOLERANCES["bfloat16"].miss(far) == "cosine 0.99995 to the golden vector, 0.999 required,"


@pytest.mark.parametrize("row", KNOWN_DIFFERENCES)
def test_a_known_difference_is_of_a_runtime_there_is(row):
    assert row.runtime in {kind.name for kind in KINDS}
    assert known_difference(row.runtime, "3.4.1", row.kind) is row


def test_only_older_versions_are_excused():
    assert known_difference("sentence-transformers", "5.9", "outer_whitespace")
    assert not known_difference("sentence-transformers", "6.0.0", "outer_whitespace")
    assert not known_difference("sentence-transformers", "3.4.1", "ordinary")
    assert not known_difference("transformers", "4.57.6", "outer_whitespace")
