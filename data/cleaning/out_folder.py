"""The folder that cleaned pairs are written to: what its files are called, and whose they are."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RECORDS = ".clean"  # the counts of each finished file, so that a cleaning that was stopped goes on
_CLAIM = "claim.json"


def names_in_one_folder(files: Sequence[Path]) -> dict[Path, str]:
    """A name for each file: its own, with its folders' names in front where files are called alike.

    Raises ValueError when a file was given twice.
    """
    repeated = {name for name, count in Counter(file.name for file in files).items() if count > 1}
    top = Path(os.path.commonpath([file.resolve().parent for file in files]))
    names = {
        file: ".".join(file.resolve().relative_to(top).parts) if file.name in repeated else file.name
        for file in files
    }
    if len(names) < len(files) or len(set(names.values())) < len(files):
        twice = Counter(file.name for file in files).most_common(1)[0][0]
        raise ValueError(f"{twice} was given twice, or two files come to one name: give each file once.")
    return names


def claim(out: Path, key: str, names: Sequence[str], reports: Sequence[str]) -> None:
    """Make `out` the folder of the cleaning with this key.

    What the same cleaning left there is kept; what another one wrote is removed.

    Raises ValueError where it holds files that no cleaning wrote.
    """
    held = out / RECORDS / _CLAIM
    if held.is_file():
        before = json.loads(held.read_text(encoding="utf-8"))
        if before["key"] == key:
            return
        for report in reports:
            (out / report).unlink(missing_ok=True)
        for name in before["files"]:
            (out / RECORDS / f"{name}.json").unlink(missing_ok=True)
            (out / name).unlink(missing_ok=True)
    if out.is_dir() and (strange := [file for file in sorted(out.iterdir()) if file.name != RECORDS]):
        raise ValueError(f"{out} holds {strange[0].name}, which no cleaning wrote: choose another --out.")
    (out / RECORDS).mkdir(parents=True, exist_ok=True)
    write_json(held, {"key": key, "files": list(names)})


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as indented JSON, whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
