"""Write a file whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`: beside it first, then in one rename, so that no reader meets a half."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, record: Any) -> None:
    """Write `record` to `path` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
