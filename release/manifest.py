"""`manifest.json`: the size and sha256 of every other file of a release, and what no longer matches them."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from codequarry.common.errors import UserError
from codequarry.common.files import file_sha256, read_json, write_json

MANIFEST = "manifest.json"
_CARD = "README.md"


def write_manifest(folder: Path) -> None:
    """Write `manifest.json` over every other file below `folder`."""
    files = {
        name: {"size": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)}
        for name in _names(folder)
        if (folder / name).is_file()
    }
    write_json(folder / MANIFEST, {"algorithm": "sha256", "files": files})


def contents_sha256(folder: Path) -> str:
    """sha256 over all files below `folder` but the card and the manifest, for the card to show.

    The manifest holds the card's hash, so the card cannot hold the manifest's. This is the sha256 of the
    lines that `sha256sum` prints for the other files, sorted by name.
    """
    names = [name for name in _names(folder) if name != _CARD and (folder / name).is_file()]
    lines = "".join(f"{file_sha256(folder / name)}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode()).hexdigest()


def manifest_sha256(folder: Path) -> str:
    """sha256 of `manifest.json`, which stands for every other file."""
    return file_sha256(folder / MANIFEST)


def check_expected(folder: Path, expected: str) -> list[str]:
    """One sentence unless `expected` is the sha256 of the manifest, or the one that the release's card shows.

    Raises UserError for what is no sha256.
    """
    expected = expected.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", expected):
        raise UserError(f"--expect {expected!r} is no sha256, which has 64 digits of 0-9 and a-f.")
    if not (folder / MANIFEST).is_file():
        return []  # which is a problem by itself
    found = manifest_sha256(folder)
    if expected in (found, contents_sha256(folder)):
        return []
    return [
        f"{MANIFEST} has sha256 {found}, and {expected} was expected: this is another release than the one "
        "that the number was published for."
    ]


def check_manifest(folder: Path) -> list[str]:
    """One sentence for each file missing, extra or changed since `write_manifest`; [] when none is."""
    if not (folder / MANIFEST).is_file():
        return [f"{MANIFEST} is missing: this is not a folder that `codequarry release build` finished."]
    if wrong := [*_misplaced(folder)]:
        return wrong
    try:
        manifest = read_json(folder / MANIFEST)
        listed = manifest["files"].items()
        expected = {name: (int(entry["size"]), str(entry["sha256"])) for name, entry in listed}
        plain = manifest.keys() == {"algorithm", "files"} and manifest["algorithm"] == "sha256"
        if not plain or any(entry.keys() != {"size", "sha256"} for _, entry in listed):
            return [f"{MANIFEST} has other fields than size and sha256 of each file."]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        return [f"{MANIFEST} cannot be read ({type(error).__name__}: {error})."]
    found = set(_names(folder))
    problems = [f"{name} is missing." for name in sorted(expected.keys() - found)]
    problems += [f"{name} is not in {MANIFEST}: an extra file." for name in sorted(found - expected.keys())]
    for name in sorted(expected.keys() & found):
        size, digest = expected[name]
        if not (folder / name).is_file():
            problems.append(f"{name} is no file, but a pipe or a link that leads nowhere.")
            continue
        actual = (folder / name).stat().st_size
        if actual != size:
            problems.append(f"{name} has {actual:,} bytes, {MANIFEST} says {size:,}.")
        elif file_sha256(folder / name) != digest:
            problems.append(f"{name} has changed: its sha256 is not the one in {MANIFEST}.")
    return problems


def _misplaced(folder: Path) -> Iterator[str]:
    """Links that leave the folder, and names that differ in case alone, of which some systems keep one."""
    # The Hub's cache keeps a file as a link from snapshots/COMMIT to blobs/ of the same repository.
    root = folder.resolve()
    repository = root.parents[1] if root.parent.name == "snapshots" else None
    cache = repository if repository is not None and repository.name.startswith("models--") else None
    seen: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            target = path.resolve()
            in_cache = cache is not None and target.parent == cache / "blobs"
            leaves = path.exists() and not target.is_relative_to(
                root
            )  # one that leads nowhere is named below
            if not in_cache and (path.is_dir() or leaves):
                yield f"{name} is a link out of the folder, or to a folder: a release holds files of its own."
        if other := seen.get(name.lower()):
            yield f"{other} and {name} differ in case alone: on some systems one takes the other's place."
        seen[name.lower()] = name


def _names(folder: Path) -> list[str]:
    # All but folders: a link that leads nowhere and a pipe are no part of a release either.
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(name for path in paths if (name := path.relative_to(folder).as_posix()) != MANIFEST)
