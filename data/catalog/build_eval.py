"""Build the evaluation sets from their public sources, on the machine of whoever wants them.

build_eval(Path("eval"))                                    # all of them
build_eval(Path("eval"), names=["mbpp", "completion_py"], mirrors=Path("clones"))
"""

import hashlib
import inspect
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from codequarry.common.tables import build_table
from codequarry.data.catalog.fetch import files_of
from codequarry.data.catalog.registry import EVAL_SOURCES, get_eval_source
from codequarry.data.catalog.schema import Distribution, EvalSource, Git, get_licence
from codequarry.data.eval_set import ABOUT, CORPUS, QUERIES, write_eval_set


@dataclass(frozen=True)
class BuiltSet:
    """One set as it lies on disk.

    made: False where it was there already, from the same row.
    """

    name: str
    task: str
    queries: int
    documents: int
    licence: str
    redistributable: bool
    made: bool


def build_eval(
    out: Path,
    names: Sequence[str] | None = None,
    mirrors: Path | None = None,
    index: str | None = None,
    progress: bool = True,
) -> list[BuiltSet]:
    """Write every set to `out/NAME` in the BEIR layout, whole or not at all.

    A set that is there already, made from the same row by the same code, is kept; one of another row is
    replaced.

    Arguments:
        names: which sets; None for all of them.
        mirrors, index: where the sources are looked for before the network, as in `files_of`.
        progress: show a bar once it has taken two seconds.

    Raises ValueError for an unknown name and for a source that cannot be read; the sets made until then stay.
    """
    rows = [get_eval_source(name) for name in (names if names is not None else EVAL_SOURCES)]
    out.mkdir(parents=True, exist_ok=True)
    built = []
    for row in tqdm(rows, "building", unit=" sets", delay=2, disable=not progress, leave=False):
        kept = _kept(out / row.name, row)
        built.append(kept if kept is not None else _build(out / row.name, row, mirrors, index))
    return built


def summary_table(built: Sequence[BuiltSet]) -> str:
    """The sets as a table in plain text."""
    cells = [("set", "task", "queries", "documents", "licence", "")]
    for one in built:
        remarks = [] if one.made else ["kept"]
        remarks += [] if one.redistributable else ["do not pass on"]
        cells.append(
            (one.name, one.task, f"{one.queries:,}", f"{one.documents:,}", one.licence, ", ".join(remarks))
        )
    return build_table(cells)


def about(row: EvalSource) -> dict[str, Any]:
    """What `set.json` says of a set beside its task: whatever is needed to make it again, and its licence."""
    return {
        "sources": [_place(place) for place in row.where],
        "licence": row.licence,
        "redistributable": get_licence(row.licence).redistributable,
        "languages": list(row.languages),
        "mirrors": row.mirrors,
        "faithful": row.faithful,
        "in_mean": row.in_mean,
        "row": fingerprint(row),
    }


def fingerprint(row: EvalSource) -> str:
    """A hash of what decides a set's texts: its places, and the code of its reader and of what that uses."""
    reader = sys.modules[row.read.__module__]
    used = {str(getattr(value, "__module__", "")) for value in vars(reader).values()}
    modules = [reader.__name__, *sorted(name for name in used if name.startswith("codequarry.data."))]
    made_of = {
        "name": row.name,
        "task": row.task,
        "sources": [_place(place) for place in row.where],
        "code": [inspect.getsource(sys.modules[name]) for name in modules],
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def _place(place: object) -> dict[str, Any]:
    if isinstance(place, Git):
        return {"repository": place.repository, "commit": place.commit, "paths": list(place.paths)}
    if isinstance(place, Distribution):
        return {"package": place.package, "version": place.version, "sha256": place.sha256}
    raise ValueError(f"{place} is no place that an evaluation set is made from.")


def _build(folder: Path, row: EvalSource, mirrors: Path | None, index: str | None) -> BuiltSet:
    try:
        found = row.read(files_of(row.where, mirrors, index))
    except (KeyError, TypeError, IndexError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"The source of {row.name} is not laid out as expected ({type(error).__name__}: {error}). Is "
            "the mirror whole?"
        ) from error
    write_eval_set(folder, found, about(row))
    return _row_of(row, len(found.queries), len(found.documents), made=True)


def _kept(folder: Path, row: EvalSource) -> BuiltSet | None:
    """The set in a folder where it was made from this row; a set appears whole, so it needs no reading."""
    try:
        if json.loads((folder / ABOUT).read_bytes()).get("row") != fingerprint(row):
            return None
        return _row_of(row, _lines(folder / QUERIES), _lines(folder / CORPUS), made=False)
    except (OSError, ValueError):
        return None


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n")


def _row_of(row: EvalSource, queries: int, documents: int, *, made: bool) -> BuiltSet:
    licence = get_licence(row.licence)
    return BuiltSet(row.name, row.task, queries, documents, row.licence, licence.redistributable, made)
