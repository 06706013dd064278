"""`golden_vectors.json`: texts with the vectors that a model gave them. Imported without torch."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

GOLDEN = "golden_vectors.json"
_SHORT = (
    600  # characters with the prompt; a text past the model's limit would take most of the time of loading
)

_MOST = 128  # texts that are computed when a model is loaded; a release has 30


def golden_json(head: Mapping[str, Any], rows: Iterable[tuple[str, str, str, Iterable[float]]]) -> str:
    """The text of a `golden_vectors.json`: the fields of `head`, then a line per text.

    rows: (name of the prompt, kind, text, vector).
    """
    lines = [
        # Nine decimals keep float32 of numbers below 1 to half a unit in the ninth.
        json.dumps(
            {
                "prompt_name": name,
                "kind": kind,
                "text": text,
                "vector": [round(float(number), 9) for number in vector],
            },
            ensure_ascii=False,
        )
        for name, kind, text, vector in rows
    ]
    start = json.dumps(dict(head), ensure_ascii=False)
    return f'{start[:-1]}, "rows": [\n' + ",\n".join(lines) + "\n]}\n"


def compared_rows(golden: Mapping[str, Any]) -> list[tuple[str, list[float]]]:
    """Three texts with their prompts, and their vectors: those by which a loaded model is checked.

    The longest of the common ones, the one with most letters outside ASCII, and one that spells out special
    tokens: where normaliser, length or tokenizer are damaged, they differ.

    Argument: what the file holds. Raises KeyError, TypeError or ValueError where it is damaged.
    """
    rows = _rows(golden)
    common = [row for row in rows if row[0] == "ordinary" and len(row[1]) < _SHORT]
    special = [row for row in rows if row[0] == "special_tokens"]
    picked = [
        *sorted(common, key=lambda row: len(row[1]))[-1:],
        *sorted(common, key=lambda row: sum(letter > "\x7f" for letter in row[1]))[-1:],
        *special[-1:],
    ]
    return [(text, vector) for _, text, vector in picked]


def short_rows(golden: Mapping[str, Any]) -> list[tuple[str, list[float]]]:
    """The texts of fewer than 600 characters with their prompts, and their vectors: at most 128 of them.

    Argument and errors are those of `compared_rows`.
    """
    return [(text, vector) for _, text, vector in _rows(golden) if len(text) < _SHORT][:_MOST]


def _rows(golden: Mapping[str, Any]) -> list[tuple[str, str, list[float]]]:
    return [
        (
            row["kind"],
            golden["prompts"][row["prompt_name"]] + row["text"],
            [float(one) for one in row["vector"]],
        )
        for row in golden["rows"]
    ]
