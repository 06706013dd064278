"""Checkpoints that are whole or absent, and verified before use.

A checkpoint is written into a hidden folder and renamed, so `checkpoint-N` never exists half-written. It has
a list of its files with their sha256: damage by a failing disk, a power cut or an incomplete copy is found
before it is used, and the checkpoint before it is used instead.
"""

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from codequarry.common.files import file_sha256, read_json, write_json

logger = logging.getLogger(__name__)

_FILES = "complete"  # the list of files
_WRITING = ".writing"
_REMOVED = ".removed-"


def writing_folder(folder: Path) -> Path:
    """Where a checkpoint of `folder` is written before it is renamed: hidden, on the same disk."""
    return folder / _WRITING


def publish(written: Path, checkpoint: Path) -> None:
    """List the files of `written`, a folder in `writing_folder`, and make it `checkpoint` in one rename.

    A checkpoint that has this name already is replaced. There is no fsync: after a power cut the newest
    checkpoint may be incomplete, which its sums show, and the one before it has long been on disk.
    """
    names = sorted(str(file.relative_to(written)) for file in written.rglob("*") if file.is_file())
    write_json(written / _FILES, {"files": _sums(written, names, "summing up")})
    if checkpoint.exists():
        _remove(checkpoint)
    written.rename(checkpoint)
    written.parent.rmdir()


def newest_complete(folder: Path, *, check: bool = True) -> Path | None:
    """The newest whole checkpoint in `folder`, or None.

    Arguments:
        folder: holds `checkpoint-N`; it need not exist.
        check: read every file. A damaged checkpoint is logged with the reason and renamed to
            `corrupt-checkpoint-N`, and leftovers of a kill are removed. False only reads names, for a run
            under way and for the ranks after the first.
    """
    if check:
        for leftover in (*folder.glob(_WRITING), *folder.glob(f"{_REMOVED}*")):
            shutil.rmtree(leftover)
    for checkpoint in reversed(_by_step(folder)):
        fault = _fault(checkpoint) if check else None
        if fault is None:
            return checkpoint
        aside = folder / f"corrupt-{checkpoint.name}"
        if aside.exists():
            _remove(aside)
        checkpoint.rename(aside)
        logger.warning("%s cannot be used: %s. It is kept as %s.", checkpoint, fault, aside.name)
    return None


def step_of(checkpoint: Path) -> int:
    """The optimiser steps of `checkpoint-N`: N."""
    return int(checkpoint.name.rpartition("-")[2])


def remove_older(folder: Path, *, keep: int, best: Path | None) -> None:
    """Keep the newest `keep` checkpoints of `folder` (0: all) and `best`, if there is one; remove others."""
    for checkpoint in _by_step(folder)[:-keep] if keep else []:
        if checkpoint != best:
            _remove(checkpoint)


def _remove(checkpoint: Path) -> None:
    # Renamed first: a kill half-way would leave a checkpoint with some of its files.
    removed = checkpoint.with_name(f"{_REMOVED}{checkpoint.name}")
    checkpoint.rename(removed)
    shutil.rmtree(removed)


def _by_step(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-[0-9]*"), key=step_of)


def _fault(checkpoint: Path) -> str | None:
    """Why a checkpoint cannot be used; None when every file is what was written."""
    try:
        listed: dict[str, Any] = read_json(checkpoint / _FILES)["files"]
    except FileNotFoundError:
        return f"it has no list of its files ({_FILES})"
    except (ValueError, KeyError, TypeError):
        return f"the list of its files ({_FILES}) is damaged"
    for name, written in listed.items():
        file = checkpoint / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != written["bytes"]:
            return f"{name} has {file.stat().st_size:,} bytes, {written['bytes']:,} were written"
    found = _sums(checkpoint, listed, f"checking {checkpoint.name}")
    for name, written in listed.items():
        if found[name] != written:
            return f"{name} has changed since it was written (another sha256)"
    return None


def _sums(checkpoint: Path, names: Iterable[str], title: str) -> dict[str, dict[str, Any]]:
    """Bytes and sha256 of files by their path inside `checkpoint`."""
    sizes = {name: (checkpoint / name).stat().st_size for name in names}
    sums = {}
    with tqdm(total=sum(sizes.values()), desc=title, unit="B", unit_scale=True, delay=2, leave=False) as bar:
        for name, size in sizes.items():
            sums[name] = {"bytes": size, "sha256": file_sha256(checkpoint / name, bar.update)}
    return sums
