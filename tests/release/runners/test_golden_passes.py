"""Batches hold every text once, and the longest one is not padded around many."""

import pytest

from codequarry.release.runners.golden_passes import batches

TEXTS = ["short"] * 15 + ["long " * 500] + ["a little longer"] * 24


@pytest.mark.parametrize("size", [1, 2, 3, 16, 100])
@pytest.mark.parametrize("count", [1, 2, 16, 17, 40])
def test_every_text_is_in_one_batch(size, count):
    texts = TEXTS[-count:]
    groups = batches(texts, size)
    assert sorted(place for group in groups for place in group) == list(range(count))
    assert all(1 <= len(group) <= size for group in groups)


def test_batches_are_full_but_for_that_of_the_longest_text_and_the_last():
    first, *full, last = batches(TEXTS, 16)
    assert TEXTS.index("long " * 500) in first
    assert len(first) == 4
    assert {len(group) for group in full} == {16}
    assert 1 <= len(last) <= 16


def test_the_tokens_that_padding_adds_are_a_third_of_what_they_were():
    plain = [range(start, min(start + 16, 40)) for start in range(0, 40, 16)]

    def padded(groups):
        return sum(len(group) * max(len(TEXTS[place]) for place in group) for group in groups)

    assert padded(batches(TEXTS, 16)) < padded(plain) / 3
