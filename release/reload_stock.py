"""Does this folder still give its golden vectors, with nothing but sentence-transformers?

    python reload_stock.py FOLDER

Prints one JSON object: the versions, and how far the vectors are from `golden_vectors.json`, for each kind of
text, batch size and dimension. Needs sentence-transformers (3.4.1 or newer) and numpy; codequarry is not
imported, no code from the folder is run, nothing is fetched.
"""

import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import sentence_transformers
import torch
import transformers
from sentence_transformers import SentenceTransformer


def main(folder: Path) -> None:
    golden = json.loads((folder / "golden_vectors.json").read_text(encoding="utf-8"))
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    stored = dtype_of(model)
    measured = measure(model, golden)
    if stored != "float32":
        # The same weights in float32 must meet the golden vectors as closely as weights stored so.
        measured += measure(model.float(), golden)
    print(
        json.dumps(
            {
                "python": platform.python_version(),
                "sentence_transformers": sentence_transformers.__version__,
                "transformers": transformers.__version__,
                "torch": torch.__version__,
                "loaded_as": stored,
                "max_seq_length": model.max_seq_length,
                "worst_absolute_difference": max(row["worst_absolute_difference"] for row in measured),
                "worst_cosine": min(row["worst_cosine"] for row in measured),
                "measured": measured,
            }
        )
    )


def dtype_of(model: SentenceTransformer) -> str:
    """The type of the model's weights, such as `float32`."""
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def measure(model: SentenceTransformer, golden: dict[str, Any]) -> list[dict[str, Any]]:
    """Compare one text at a time, and 16 at a time for every dimension."""
    rows = golden["rows"]
    expected = np.array([row["vector"] for row in rows])
    plain: dict[str, Any] = {"normalize_embeddings": True, "show_progress_bar": False}
    model.truncate_dim = None
    alone = [model.encode([row["text"]], prompt_name=row["prompt_name"], **plain)[0] for row in rows]
    measured = compare(rows, expected, np.array(alone), dtype=dtype_of(model), batch_size=1)
    # `encode` takes one prompt a call; written out, the prompts of all tasks share a batch, short and long.
    joined = [golden["prompts"][row["prompt_name"]] + row["text"] for row in rows]
    for dim in golden["dims"]:
        # The cut comes after the model, so one batch size is enough for the smaller dimensions.
        model.truncate_dim = dim
        vectors = model.encode(joined, batch_size=16, **plain)
        measured += compare(rows, expected, vectors, dtype=dtype_of(model), batch_size=16)
    return measured


def compare(
    rows: list[dict[str, Any]], expected: Any, vectors: Any, *, dtype: str, batch_size: int
) -> list[dict[str, Any]]:
    """One row a kind of text: the largest difference of any number, the smallest cosine, and whose it is."""
    dim = vectors.shape[1]
    vectors = vectors.astype(np.float64)
    cut = expected[:, :dim] / np.linalg.norm(expected[:, :dim], axis=1, keepdims=True)
    differences = np.abs(cut - vectors).max(axis=1)
    cosines = (cut * vectors).sum(axis=1) / np.linalg.norm(vectors, axis=1)
    kinds: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        kinds.setdefault(row["kind"], []).append(index)
    return [
        {
            "kind": kind,
            "dtype": dtype,
            "dim": dim,
            "batch_size": batch_size,
            "worst_absolute_difference": float(differences[members].max()),
            "worst_cosine": float(cosines[members].min()),
            "worst_text": rows[max(members, key=lambda index: differences[index])]["text"][:60],
        }
        for kind, members in kinds.items()
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
