"""The record of a training as the world may read it: the same, without the folders of the trainer's disk."""

from pathlib import Path
from typing import Any


def public_record(record: dict[str, Any]) -> dict[str, Any]:
    """`training.json` with every absolute path, in a key or a value, cut down to its last part.

    >>> public_record({"recipe": {"data": "/home/me/pairs/train"}})
    {'recipe': {'data': 'train'}}
    """
    cut: dict[str, Any] = _cut(record)
    return cut


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {_cut(key): _cut(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item) for item in value]
    if isinstance(value, str) and (value.startswith("~/") or Path(value).is_absolute()):
        return Path(value).name
    return value
