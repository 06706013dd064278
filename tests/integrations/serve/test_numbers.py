"""A float32 written down and read back is the same float32."""

import json

import numpy as np

from codequarry.integrations.serve.numbers import as_list


def test_every_float32_comes_back_exactly():
    bits = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint32)
    numbers = bits.view(np.float32)
    numbers = numbers[np.isfinite(numbers)]
    assert np.array_equal(np.float32(json.loads(as_list(numbers))), numbers)
