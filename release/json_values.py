"""What a value out of a JSON file is, whoever wrote it: told without surprise, shown without end."""

import json
import math
from typing import Any


def is_whole(value: Any) -> bool:
    """Whether `value` is a whole number above 0 of a size that a model may have; true and false are none."""
    return type(value) is int and 0 < value < 10**9


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number; true and false are none."""
    return type(value) in (int, float) and abs(value) < 10**30 and math.isfinite(value)


def shown(value: Any) -> str:
    """`value` as JSON, cut where it is long.

    >>> shown({"max_seq_length": None})
    '{"max_seq_length": null}'
    """
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
