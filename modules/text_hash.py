"""What stands for a text where the text itself is too long to carry: its sha256, or 64 bits of it."""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def text_sha256(text: str) -> bytes:
    """sha256 of a text's UTF-8, 32 bytes. Half a surrogate pair, which JSON can hold, is hashed like any."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def text_ids(texts: Iterable[str]) -> npt.NDArray[np.int64]:
    """One number a text, `(texts,)`: the first 8 bytes of its sha256, little endian, signed.

    Equal texts have equal numbers on every machine. Two of a million different texts share one with a
    probability of 3e-8, and then one of them only waits for another batch, or is masked in one.
    """
    return np.frombuffer(b"".join(text_sha256(text)[:8] for text in texts), dtype="<i8").astype(np.int64)
