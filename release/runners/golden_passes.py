"""The golden texts through any function that embeds: one at a time, 16 at a time, padded on either side."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

Embed = Callable[[list[str], str], Any]  # (texts with their prompts, side of padding) → (texts, dim)


def write_passes(
    folder: Path, out: Path, models: Iterable[tuple[str, Embed]], versions: dict[str, str]
) -> None:
    """Embed the golden texts of `folder` with each of `models`, by precision, and write what `out` promises.

    The vectors have their full size; whoever compares them cuts them.
    """
    golden, config = read(folder / "golden_vectors.json"), read(folder / "config.json")
    texts = [golden["prompts"][row["prompt_name"]] + row["text"] for row in golden["rows"]]
    # A causal model counts positions from the first real token; an encoder's positions would be shifted.
    paddings = ["right", "left"] if config.get("is_causal") else ["right"]
    found: dict[str, Any] = {}
    for precision, embed in models:
        for padding, size in [("right", 1), *((padding, 16) for padding in paddings)]:
            batches = [embed(texts[start : start + size], padding) for start in range(0, len(texts), size)]
            found[f"{precision} {padding} {size} {golden['dims'][0]}"] = np.concatenate(batches)
    np.savez(out, **found)
    print(json.dumps(versions))


def read(path: Path) -> dict[str, Any]:
    """A JSON file."""
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
