"""What text-embeddings-inference and vLLM need to find in a release: a row per field.

Both read the files themselves and report little when one is not as they expect: they refuse to start, or
pool, cut or attend in another way. The rows come from what the two document and from their sources
(text-embeddings-inference 1.9.3, vLLM of 2026); sentence-transformers reads the same fields.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codequarry.common.files import read_rows

TEI = "text-embeddings-inference"
VLLM = "vLLM"


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number; true and false are none."""
    return type(value) in (int, float) and abs(value) < 10**30 and math.isfinite(value)


def is_whole(value: Any) -> bool:
    """Whether `value` is a whole number above 0 of a size that a model may have; true and false are none."""
    return type(value) is int and 0 < value < 10**9


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


# What a value has to be, in words, and the test of it.
_KINDS: dict[str, Callable[[Any], bool]] = {
    "a whole number": is_whole,
    "a whole number of tokens": is_whole,
    "the id of a token": lambda value: value == 0 or is_whole(value),
    "a number": is_number,
    "a name": _is_text,
    "true or false": lambda value: isinstance(value, bool),
    "false": lambda value: value is False,
    "absent": lambda value: value is None,
    "absolute": lambda value: value == "absolute",
    "right": lambda value: value == "right",
    "one class whose name ends in Model": lambda value: (
        isinstance(value, list) and len(value) == 1 and _is_text(value[0]) and value[0].endswith("Model")
    ),
    "an object with rope_theta and rope_type": lambda value: (
        isinstance(value, dict) and is_number(value.get("rope_theta")) and _is_text(value.get("rope_type"))
    ),
    "a list of whole numbers": lambda value: (
        isinstance(value, list) and value != [] and all(map(is_whole, value))
    ),
    "texts by name": lambda value: (
        isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
    ),
}


@dataclass(frozen=True)
class Need:
    """A field of a JSON file, what it has to be, and who needs it for what.

    kind: one of `_KINDS`. optional: whether it may be absent as well.
    families: the `model_type`s that need it; () for every one.
    """

    file: str
    field: str
    kind: str
    reason: str = f"{TEI} does not start without it"
    families: tuple[str, ...] = ()
    optional: bool = False

    def allows(self, value: Any) -> bool:
        """Whether `value` is what it has to be."""
        return (self.optional and value is None) or _KINDS[self.kind](value)

    def sentence(self, value: Any) -> str:
        """What is wrong with `value`."""
        return f"{self.file} has {self.field} {shown(value)}, not {self.kind}: {self.reason}."


NEEDS = read_rows(Path(__file__).with_name("server_requirements.toml"), Need)


def unmet_needs(files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One sentence for each of `NEEDS` that the files, objects by their name, do not meet.

    >>> unmet_needs({"config.json": json.loads(path.read_text()), ...})
    []
    """
    family = files["config.json"].get("model_type")
    rows = [(need, files[need.file].get(need.field)) for need in NEEDS]
    return [
        need.sentence(value)
        for need, value in rows
        if family in (need.families or [family]) and not need.allows(value)
    ]


def shown(value: Any) -> str:
    """`value` as JSON, cut where it is long.

    >>> shown({"max_seq_length": None})
    '{"max_seq_length": null}'
    """
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
