"""Two rankings made one: scores are standardised per query, then added with weights per task.

    fused = z(dense) + w · z(other),  z(s) = (s - mean(s)) / std(s)

Standardised scores keep how far ahead a document is, which reciprocal rank fusion drops. The result is given
on the scale of the dense scores, which are cosine similarities: a user who knows those reads it as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from codequarry.common.files import read_rows

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class FusionWeights:
    """The weights of one task, next to 1 for the dense scores.

    lexical: of BM25 in the first two stages. second: of these two stages in the strong model's ranking.
    """

    task: str
    lexical: float
    second: float


WEIGHTS: Mapping[str, FusionWeights] = MappingProxyType(
    {row.task: row for row in read_rows(Path(__file__).with_name("fusion_weights.toml"), FusionWeights)}
)


def fuse(dense: Scores, other: Scores, weight: float) -> Scores:
    """`dense` raised where `other` stands out and lowered where it falls behind; both `(texts,)`.

    Where the other scores are all equal, such as for a query without a known word, they change nothing.

    >>> fuse(np.array([0.5, 0.3], np.float32), np.array([0.0, 9.0], np.float32), 1.0)
    array([0.4, 0.4], dtype=float32)
    """
    if not dense.size:
        return dense
    spread = float(other.std())
    if spread == 0:
        return dense
    fused: Scores = dense + np.float32(weight * float(dense.std()) / spread) * (other - other.mean())
    return fused
