"""Where this machine keeps what it would otherwise compute again."""

import os
from pathlib import Path


def cache_folder(name: str = "") -> Path:
    """`name` in the folder that the variable CODEQUARRY_CACHE names, or else in the user's cache folder."""
    from platformdirs import user_cache_dir  # not needed to start a command

    chosen = os.environ.get("CODEQUARRY_CACHE") or user_cache_dir("codequarry", appauthor=False)
    return Path(chosen).expanduser() / name
