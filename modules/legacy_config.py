"""Make a saved `config.json` mean the same to transformers 4.

transformers 5 writes `rope_parameters` and `dtype`. transformers 4 knows `rope_theta` and `torch_dtype`;
without them it falls back to theta 10,000 and float32 and says nothing, so the same weights give other
vectors. A saved config carries both spellings; each reader ignores the other's.
"""

import json
from pathlib import Path
from typing import Any

from codequarry.modules.whole_files import write_json


def add_legacy_fields(config_path: Path) -> None:
    """Add the transformers 4 spelling of every field that transformers 5 renamed; twice is harmless."""
    config: dict[str, Any] = json.loads(config_path.read_text(encoding="utf-8"))
    rope: dict[str, Any] = config.get("rope_parameters") or {}
    if "rope_theta" in rope:
        config["rope_theta"] = rope["rope_theta"]
    if rope.get("rope_type", "default") != "default":
        config["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}
    if "dtype" in config:
        config["torch_dtype"] = config["dtype"]
    write_json(config_path, dict(sorted(config.items())))
