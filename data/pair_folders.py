"""Pairs of a folder and of the folders inside it, as one collection."""

import hashlib
from pathlib import Path

from codequarry.data.pair_files import SUFFIXES, PairRead, fingerprint, read_pairs

HELD_OUT = "heldout"


def pair_folders(path: Path, *, subfolders: bool = False) -> list[Path]:
    """Where the pairs of a path lie: the path itself, or with `subfolders` every folder in it that has some.

    Folders called `heldout`, hidden ones and whatever is in them are left out: what is kept for measuring
    never trains.
    """
    if not subfolders or not path.is_dir():
        return [path]
    folders = [path, *(folder for folder in sorted(path.rglob("*")) if folder.is_dir())]
    return [folder for folder in folders if _is_open(folder.relative_to(path)) and _holds_pairs(folder)] or [
        path
    ]


def read_pair_folders(path: Path, *, subfolders: bool = False, skip_bad: bool = False) -> PairRead:
    """Every pair at a path, as `read_pairs` gives them, folder after folder by name.

    Raises PairError as `read_pairs` does.
    """
    reads = [read_pairs(folder, skip_bad=skip_bad) for folder in pair_folders(path, subfolders=subfolders)]
    return PairRead(
        [pair for read in reads for pair in read.pairs],
        sum(read.skipped for read in reads),
        tuple(file for read in reads for file in read.files),
    )


def fingerprint_folders(path: Path, *, subfolders: bool = False) -> str:
    """A sha256 over the names and bytes of all those files; that of `fingerprint` where it is one folder."""
    folders = pair_folders(path, subfolders=subfolders)
    if folders == [path]:
        return fingerprint(path)
    whole = hashlib.sha256()
    for folder in folders:
        whole.update(f"{folder.relative_to(path).as_posix()}\0{fingerprint(folder)}\n".encode())
    return whole.hexdigest()


def _is_open(inside: Path) -> bool:
    return not any(part == HELD_OUT or part.startswith(".") for part in inside.parts)


def _holds_pairs(folder: Path) -> bool:
    return any(file.name.endswith(SUFFIXES) and not file.name.startswith(".") for file in folder.iterdir())
