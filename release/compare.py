"""How far vectors of the golden texts are from the golden vectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Distance:
    """The worst of one kind of text in one pass: `batch` texts at a time, padded on the side `padding`.

    absolute_difference: the largest of any number of a unit vector. cosine: the smallest. text: whose it is.
    """

    kind: str
    precision: str
    padding: str
    batch: int
    dim: int
    absolute_difference: float
    cosine: float
    text: str

    def __str__(self) -> str:
        side = "" if self.padding == "right" else f", padded {self.padding}"
        kind = self.kind.replace("_", " ")
        return f"{self.precision}, {kind} texts, dim {self.dim}, batch {self.batch}{side}"


def distances(golden: Mapping[str, Any], passes: Mapping[str, Any]) -> list[Distance]:
    """Compare each pass, and for one that gives whole vectors only every smaller dimension of it.

    Arguments:
        golden: what `golden_vectors.json` holds.
        passes: arrays (texts, dim) by `precision padding batch dim`, as `runners` write them.

    Raises ValueError for a pass that has not one vector a text.

    >>> worst = max(distances(golden, np.load("out.npz")), key=lambda found: found.absolute_difference)
    """
    rows, dims = golden["rows"], golden["dims"]
    expected = np.array([row["vector"] for row in rows])
    kinds: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        kinds.setdefault(row["kind"], []).append(index)
    found = []
    for name, vectors in passes.items():
        precision, padding, batch, width = name.split()
        if vectors.shape != (len(rows), int(width)):
            raise ValueError(
                f"pass {name!r} has the shape {vectors.shape}; there are {len(rows)} golden texts."
            )
        # What a client does that wants fewer numbers than the runtime gives: cut, back to length 1.
        own_cut = f"{precision} {padding} {batch} {dims[-1]}" in passes
        for dim in [int(width)] if own_cut else [dim for dim in dims if dim <= int(width)]:
            cut, answer = _unit(expected[:, :dim]), vectors[:, :dim].astype(np.float64)
            answer = answer if dim == int(width) else _unit(answer)
            difference = np.abs(cut - answer).max(axis=1)
            cosine = (cut * _unit(answer)).sum(axis=1)
            for kind, members in kinds.items():
                # NaN must not hide behind another text: it is the largest there is.
                worst = max(members, key=lambda text: (np.isnan(difference[text]), difference[text]))
                found.append(
                    Distance(
                        kind,
                        precision,
                        padding,
                        int(batch),
                        dim,
                        float(difference[members].max()),
                        float(cosine[members].min()),
                        rows[worst]["text"][:60],
                    )
                )
    return found


def _unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
