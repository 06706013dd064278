"""`manifest.json`: the size and sha256 of every other file of a release, and what no longer matches them."""

from pathlib import Path

from codequarry.common.files import file_sha256, read_json, write_json

MANIFEST = "manifest.json"


def write_manifest(folder: Path) -> None:
    """Write `manifest.json` over every other file below `folder`."""
    files = {
        name: {"size": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)}
        for name in _names(folder)
        if (folder / name).is_file()
    }
    write_json(folder / MANIFEST, {"algorithm": "sha256", "files": files})


def check_manifest(folder: Path) -> list[str]:
    """One sentence for each file missing, extra or changed since `write_manifest`; [] when none is."""
    if not (folder / MANIFEST).is_file():
        return [f"{MANIFEST} is missing: this is not a folder that `codequarry release build` finished."]
    try:
        listed = read_json(folder / MANIFEST)["files"].items()
        expected = {name: (int(entry["size"]), str(entry["sha256"])) for name, entry in listed}
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


def _names(folder: Path) -> list[str]:
    # All but folders: a link that leads nowhere and a pipe are no part of a release either.
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(name for path in paths if (name := path.relative_to(folder).as_posix()) != MANIFEST)
