"""The golden texts through any function that embeds: one at a time, 16 at a time, padded on either side."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Embed = Callable[[list[str], str], Any]  # (texts with their prompts, side of padding) → (texts, dim)


def write_passes(
    folder: Path,
    out: Path,
    models: Iterable[tuple[str, Embed]],
    versions: dict[str, str],
    paddings: Sequence[str],
) -> None:
    """Embed the golden texts of `folder` with each of `models`, by precision, and write what `out` promises.

    paddings: the sides that batches are padded on. The vectors have their full size; whoever compares them
    cuts them.
    """
    golden = read(folder / "golden_vectors.json")
    texts = [golden["prompts"][row["prompt_name"]] + row["text"] for row in golden["rows"]]
    found: dict[str, Any] = {}
    for precision, embed in models:
        for padding, size in [("right", 1), *((padding, 16) for padding in paddings)]:
            groups = batches(texts, size)
            vectors = [embed([texts[place] for place in places], padding) for places in groups]
            back = np.argsort(np.concatenate(groups))
            found[f"{precision} {padding} {size} {golden['dims'][0]}"] = np.concatenate(vectors)[back]
    np.savez(out, **found)
    print(json.dumps(versions))


def batches(texts: Sequence[str], size: int) -> list[list[int]]:
    """The places of `texts`, `size` at a time; with the longest text three others at most.

    A batch is padded to its longest text, and one of the golden texts is longer than the model reads. With
    fifteen short ones beside it, that batch was nine tenths of all that a large model had to compute.
    """
    longest = max(range(len(texts)), key=lambda place: len(texts[place]))
    others = [place for place in range(len(texts)) if place != longest]
    beside = min(size, 4) - 1
    rest = others[beside:]
    return [
        [longest, *others[:beside]],
        *(rest[start : start + size] for start in range(0, len(rest), size)),
    ]


def paddings_of(folder: Path) -> list[str]:
    """Both sides where the model allows it.

    A causal model counts positions from the first real token; an encoder's positions would be shifted.
    """
    return ["right", "left"] if read(folder / "config.json").get("is_causal") else ["right"]


def in_float32(model: Any) -> Any:
    """A model of torch with its weights turned to float32, the way that takes least memory.

    As loaded they lie in the file, which stays in memory whole until the last of them has left it: copied out
    first, 0.5 billion of bfloat16 take 2.7 GB on the way and not 3.6.
    """
    for weights in model.parameters():
        weights.data = weights.data.clone()
    return model.float()


def read(path: Path) -> dict[str, Any]:
    """A JSON file."""
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
