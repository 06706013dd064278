"""Checkpoints that are whole or not used.

The trainer writes a checkpoint file by file. A marker written last, in one rename, says that all of them are
there; a folder without it is what a kill left behind.
"""

import logging
import shutil
from pathlib import Path

logger = logging.getLogger(__name__)

_MARKER = "complete"


def mark_complete(checkpoint: Path) -> None:
    """Say that every file of `checkpoint` has been written."""
    beside = checkpoint / f".{_MARKER}"
    beside.write_text("every file of this checkpoint was written\n", encoding="utf-8")
    beside.replace(checkpoint / _MARKER)


def newest_complete(folder: Path) -> Path | None:
    """The newest whole checkpoint in `folder`, or None; half-written ones are named and removed."""
    whole: dict[int, Path] = {}
    for checkpoint in folder.glob("checkpoint-*"):
        if (checkpoint / _MARKER).is_file():
            whole[int(checkpoint.name.rpartition("-")[2])] = checkpoint
        else:
            logger.warning("%s was not finished when its run was stopped: removed.", checkpoint)
            shutil.rmtree(checkpoint)
    return whole[max(whole)] if whole else None
