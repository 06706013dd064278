"""What storing documents in fewer bits costs: int8 with stored ranges, and binary with rescoring.

Queries stay float32: it is the documents that fill a disk. int8 takes a quarter of float32's room, binary a
thirty-second.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from codequarry.common.errors import UserError
from codequarry.common.files import write_json
from codequarry.inference.encoder import Vectors

Precision = Literal["float32", "int8", "binary"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
RANGES_FILE = "int8_ranges.json"
RESCORED = 40  # documents nearest in bits that are scored again: four times the ten that count
CALIBRATED_ON = "the documents of the sets scored, at most 2,000 of each, behind their prompts"
CALIBRATION_TEXTS = 2000

Ranges = npt.NDArray[np.float32]  # (2, dim): smallest and largest number of each dimension


def ranges_of(vectors: Vectors) -> Ranges:
    """The smallest and largest number of each dimension, `(2, dim)`: what int8 codes are spread over."""
    return np.stack([vectors.min(axis=0), vectors.max(axis=0)])


def write_ranges(path: Path, ranges: Ranges, texts: int) -> None:
    """Write ranges as JSON, so that other vectors of the model can be coded in the same way."""
    low, high = ranges.astype(float).round(6).tolist()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        path, {"calibrated_on": CALIBRATED_ON, "texts": texts, "dims": len(low), "min": low, "max": high}
    )


def int8_and_back(vectors: Vectors, ranges: Ranges) -> Vectors:
    """Vectors as int8 codes hold them: each number in the middle of one of the 256 steps of its range."""
    from sentence_transformers.util import quantize_embeddings

    codes = np.asarray(quantize_embeddings(vectors, precision="int8", ranges=ranges), dtype=np.float32)
    steps = (ranges[1] - ranges[0]) / 255
    decoded: Vectors = ranges[0] + (codes + 128.5) * steps
    return decoded


def bits_and_back(vectors: Vectors) -> Vectors:
    """Vectors as one bit a number holds them: the signs, at unit length."""
    from sentence_transformers.util import quantize_embeddings

    dims = vectors.shape[1]
    packed = np.asarray(quantize_embeddings(vectors, precision="ubinary"))
    bits = np.unpackbits(packed, axis=1, count=dims).astype(np.float32)
    signs: Vectors = (2 * bits - 1) / np.float32(np.sqrt(dims))
    return signs


class CompressedDocuments:
    """Documents in fewer bits, as the search index of MTEB's `SearchEncoderWrapper`.

    int8: the score is the float32 query times the decoded document. binary: the 40 documents with the most
    signs in common with the query are scored so, the others are not found.

    Arguments: `ranges` are those of `ranges_of`, needed for int8.
    """

    def __init__(self, precision: Precision, ranges: Ranges | None = None) -> None:
        if precision == "int8" and ranges is None:
            raise UserError("int8 needs ranges: pass what ranges_of gave for vectors of the same model.")
        self._precision = precision
        self._ranges = ranges
        self._decoded = np.zeros((0, 0), dtype=np.float32)
        self._place: dict[str, int] = {}

    def add_documents(self, embeddings: Any, idxs: Sequence[str]) -> None:
        """Take in the unit vectors `(documents, dim)` and their ids."""
        vectors = np.asarray(embeddings, dtype=np.float32)
        if self._precision == "int8" and self._ranges is not None:
            vectors = int8_and_back(vectors, self._ranges)
        elif self._precision == "binary":
            vectors = bits_and_back(vectors)
        self._decoded = vectors
        self._place = {name: position for position, name in enumerate(idxs)}

    def search(
        self,
        embeddings: Any,
        top_k: int,
        similarity_fn: Any = None,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        query_idx_to_id: Mapping[int, str] | None = None,
    ) -> tuple[list[list[float]], list[list[int]]]:
        """For each query the scores and positions of its best documents.

        Positions count in the corpus, or in a query's own list where `top_ranked` has one.
        """
        found: tuple[list[list[float]], list[list[int]]] = ([], [])
        for number, query in enumerate(np.asarray(embeddings, dtype=np.float32)):
            documents = self._decoded
            if top_ranked is not None and query_idx_to_id is not None:
                own = top_ranked[query_idx_to_id[number]]
                documents = documents[[self._place[name] for name in own]]
            positions = np.arange(len(documents))
            if self._precision == "binary":
                agreeing = documents @ np.where(query > 0, np.float32(1), np.float32(-1))
                shared = np.rint(agreeing * np.sqrt(len(query)))  # whole numbers, so that ties are ties
                positions = np.argsort(-shared, kind="stable")[:RESCORED]
            scores = documents[positions] @ query
            best = np.argsort(-scores, kind="stable")[:top_k]
            found[0].append(scores[best].tolist())
            found[1].append(positions[best].tolist())
        return found

    def clear(self) -> None:
        """Forget the documents."""
        self._decoded = np.zeros((0, 0), dtype=np.float32)
        self._place = {}
