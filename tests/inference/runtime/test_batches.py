import numpy as np
import pytest

from codequarry.inference.runtime.batches import batches


@pytest.mark.parametrize("seed", range(5))
def test_every_text_is_in_one_batch_and_no_batch_passes_a_bound(seed: int) -> None:
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, 500, int(draw.integers(1, 200))).tolist()
    found = [batch.tolist() for batch in batches(lengths, tokens=900, squares=300_000)]
    assert sorted(place for batch in found for place in batch) == list(range(len(lengths)))
    for batch in found:
        inside = [lengths[place] for place in batch]
        assert inside == sorted(inside)
        assert len(batch) == 1 or sum(inside) <= 900
        assert len(batch) == 1 or len(batch) * max(inside) ** 2 <= 300_000
    ordered = [lengths[place] for batch in found for place in batch]
    assert ordered == sorted(lengths), "neighbours of one length"


def test_no_texts_make_no_batch() -> None:
    assert list(batches([])) == []
