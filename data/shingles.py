"""A text as the set of short runs of tokens in it, each run one 64-bit number: what copies have in common.

Words and single signs are the tokens; spaces, line ends and case make no difference. The numbers come from
blake2b, so every process computes the same ones.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_TOKEN = re.compile(r"\w+|[^\w\s]")
_FACTOR = 0x9E3779B97F4A7C15  # odd: multiplying by it loses nothing modulo 2^64
_CACHED = 1 << 20  # distinct tokens whose number is remembered, about 200 MB at most


def tokens(text: str) -> list[str]:
    """The words and signs of a text in order, in Unicode's composed form and folded case.

    >>> tokens("def Add(a):")
    ['def', 'add', '(', 'a', ')', ':']
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.casefold())
    return _TOKEN.findall(text.lower())


def shingles(words: Sequence[str], size: int) -> NDArray[np.uint64]:
    """A number for each run of `size` tokens, in order, repeated where the run is; none for fewer tokens."""
    if len(words) < size:
        return np.empty(0, np.uint64)
    numbers = np.fromiter(map(_number, words), np.uint64, len(words))
    runs = numbers[: len(words) - size + 1].copy()
    for shift in range(1, size):
        runs *= np.uint64(_FACTOR)
        runs += numbers[shift : len(words) - size + 1 + shift]
    return _mixed(runs)


def whole(words: Sequence[str]) -> NDArray[np.uint64]:
    """One number for all tokens together."""
    return np.array([_hash("\0".join(words))], np.uint64)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


_number = lru_cache(_CACHED)(_hash)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each number scrambled one to one, so that its high bits depend on all of it."""
    numbers ^= numbers >> np.uint64(32)
    numbers *= np.uint64(0xD6E8FEB86659FD93)
    numbers ^= numbers >> np.uint64(32)
    return numbers
