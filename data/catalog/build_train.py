"""Build the training pairs from their public sources, on the machine of whoever wants them.

build_train(Path("train"))                                  # every source, and the mined repositories
build_train(Path("train"), names=["wikisql", "tldr"], mirrors=Path("clones"))
"""

import hashlib
import inspect
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from tqdm import tqdm

from codequarry.common.tables import build_table
from codequarry.data.catalog.fetch import LOCK, UnreachableError, files_of, records_of
from codequarry.data.catalog.held_out import refuse
from codequarry.data.catalog.registry import TRAIN_SOURCES, hub_sources, mined_repositories
from codequarry.data.catalog.schema import Git, Hub, Repository, TrainSource, get_licence
from codequarry.data.mining.schema import KINDS
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs

LicenceChoice = Literal["permissive", "commercial", "any"]
RECORD = "build.json"
_MINED = "mined"


@dataclass(frozen=True)
class BuiltSource:
    """One file of pairs as it lies on disk.

    file: relative to the folder of the build.
    repeats: pairs that were left out because the same source has the same query and document already.
    made: False where it was there already, from the same row.
    """

    name: str
    file: str
    tasks: tuple[str, ...]
    pairs: int
    repeats: int
    licence: str
    share_alike: bool
    made: bool


@dataclass(frozen=True)
class TrainBuild:
    """What a build gave.

    left_out: the sources that were not built, with the reason.
    """

    built: list[BuiltSource] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def build_train(
    out: Path,
    *,
    names: Sequence[str] | None = None,
    mirrors: Path | None = None,
    licences: LicenceChoice = "commercial",
    mined: bool = True,
    max_pairs_per_repository: int = 7000,
    skip_unreachable: bool = False,
    progress: bool = True,
) -> TrainBuild:
    """Write every source to `out/NAME.jsonl.gz`, every repository to `out/mined/OWNER+NAME.jsonl.gz`.

    Each file appears whole or not at all, and `build.json` says from which row it was made: a second run
    keeps what is there and builds what is missing or of another row.

    Arguments:
        names: sources (`TRAIN_SOURCES`, `hub_sources()`) and repositories (`owner/name`); None for all of the
            first, and with `mined` for all repositories. Sets on the Hub are built only when named.
        mirrors: where git repositories are looked for before the network, as in `open_repository`.
        licences: `permissive` leaves out what is share-alike, `commercial` what may not be used
            commercially, `any` nothing.
        max_pairs_per_repository: shared out evenly among the kinds of pair.
        skip_unreachable: leave out a set on the Hub that cannot be read, and say so.
        progress: show a bar once it has taken two seconds.

    Raises ValueError before anything is done for an unknown name and for a repository that is never mined,
    and later for a source that cannot be read; the files made until then stay.
    """
    if licences not in get_args(LicenceChoice):
        raise ValueError(f"{licences!r} is no choice of licences: pass {', '.join(get_args(LicenceChoice))}.")
    if max_pairs_per_repository < len(KINDS):
        raise ValueError(
            f"max_pairs_per_repository is {max_pairs_per_repository}, and there are {len(KINDS)} kinds of "
            "pair: pass one for each at least."
        )
    sources, repositories = _chosen(names, mined)
    for source in sources:
        for place in source.where:
            if isinstance(place, Git):
                refuse(place.repository, parts=True)
    for repository in repositories:
        refuse(repository.name)
    build = TrainBuild()
    out.mkdir(parents=True, exist_ok=True)
    record = _read_record(out / RECORD)
    wanted: list[TrainSource | Repository] = []
    rows: list[TrainSource | Repository] = [*sources, *repositories]
    for row in rows:
        reason = _forbidden(row.licence, licences)
        if reason:
            build.left_out[row.name] = reason
        else:
            wanted.append(row)
    for row in tqdm(wanted, "building", unit=" sources", delay=2, disable=not progress, leave=False):
        file, row_hash = _file(row), fingerprint(row, max_pairs_per_repository)
        known = record.get(file, {})
        made = known.get("row") != row_hash or not (out / file).is_file()
        if made:
            try:
                pairs = list(_pairs(row, mirrors, out / LOCK, max_pairs_per_repository))
            except UnreachableError as error:
                if not skip_unreachable:
                    raise
                build.left_out[row.name] = str(error)
                continue
            if not pairs and isinstance(row, Repository):
                build.left_out[row.name] = "nothing in it passed the filters of mining"
                continue
            known = _write(out, file, pairs, row) | {"row": row_hash}
            record[file] = known
            _write_record(out / RECORD, record)
        build.built.append(_built(row, file, known, made))
    return build


def summary_table(build: TrainBuild) -> str:
    """What was built and what was left out, as a table in plain text; mined repositories in one line."""
    cells: list[tuple[str, ...]] = [("source", "tasks", "pairs", "repeats", "licence", "")]
    for one in build.built:
        if not one.file.startswith(_MINED):
            remarks = ["share-alike"] * one.share_alike + ["kept"] * (not one.made)
            cells.append(_row(one.name, one.tasks, one.pairs, one.repeats, one.licence, remarks))
    mined = [one for one in build.built if one.file.startswith(_MINED)]
    if mined:
        tasks = tuple(sorted({task for one in mined for task in one.tasks}))
        pairs, repeats = sum(one.pairs for one in mined), sum(one.repeats for one in mined)
        cells.append(_row(f"{len(mined)} repositories", tasks, pairs, repeats, "permissive", []))
    total = sum(one.pairs for one in build.built)
    cells.append(_row("together", (), total, sum(one.repeats for one in build.built), "", []))
    left_out = [f"left out: {name}: {reason}" for name, reason in build.left_out.items()]
    return "\n".join([build_table(cells), *left_out])


def fingerprint(row: TrainSource | Repository, max_pairs: int) -> str:
    """A hash of what decides a file's pairs: the places and the code that reads them."""
    if isinstance(row, Repository):
        import codequarry.data.mining.mine as mining

        # What mining rests on elsewhere in the room shows in the pairs of its own tests.
        folder = Path(mining.__file__).parent
        made_of: list[Any] = [row.name, row.commit, max_pairs]
        made_of += [file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.py"))]
    else:
        made_of = [row.name, [[type(place).__name__, asdict(place)] for place in row.where]]
        made_of += [inspect.getsource(module) for module in _modules(row)]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def _modules(row: TrainSource) -> list[ModuleType]:
    """The module of a row's reader, and those that it takes something from."""
    read = row.read.func if isinstance(row.read, partial) else row.read
    reader = sys.modules[read.__module__]
    names = {str(getattr(value, "__module__", "")) for value in vars(reader).values()}
    readers = f"{__package__}.datasets."
    return [reader, *(sys.modules[name] for name in sorted(names) if name.startswith(readers))]


def _chosen(names: Sequence[str] | None, mined: bool) -> tuple[list[TrainSource], list[Repository]]:
    if names is None:
        return list(TRAIN_SOURCES.values()), list(mined_repositories()) if mined else []
    known = {**TRAIN_SOURCES, **hub_sources()}
    repositories = {row.name: row for row in mined_repositories()}
    unknown = [name for name in names if name not in known and name not in repositories]
    if unknown:
        raise ValueError(
            f"{unknown[0]!r} is no source of training pairs: pass some of {', '.join(known)}, or one of the "
            f"{len(repositories)} repositories in data/catalog/repositories.toml."
        )
    return [known[name] for name in names if name in known], [
        repositories[name] for name in names if name in repositories
    ]


def _forbidden(spdx: str, licences: LicenceChoice) -> str:
    licence = get_licence(spdx)
    if licences != "any" and not licence.commercial:
        return f"{spdx} does not permit commercial use"
    if licences == "permissive" and licence.share_alike:
        return f"{spdx} is share-alike"
    return ""


def _pairs(row: TrainSource | Repository, mirrors: Path | None, lock: Path, most: int) -> Iterable[Pair]:
    if isinstance(row, Repository):
        return _mined(row, mirrors, most)
    on_hub = [place for place in row.where if isinstance(place, Hub)]
    try:
        found = row.read(records_of(on_hub, lock) if on_hub else files_of(row.where, mirrors))
        return list(found)
    except (KeyError, TypeError, IndexError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"The source of {row.name} is not laid out as expected ({type(error).__name__}: {error}). Is "
            "the mirror whole?"
        ) from error


def _mined(row: Repository, mirrors: Path | None, most: int) -> list[Pair]:
    from codequarry.data.mining.mine import mine

    found = mine(
        [row.name],
        holdout=0.0,
        mirrors=mirrors,
        commit=row.commit,
        max_pairs=most,
        own_licence=True,
        progress=False,
    ).by_kind["train"]
    level = _level([len(pairs) for pairs in found.values()], most)
    return [pair for pairs in found.values() for pair in sorted(pairs, key=_lot)[:level]]


def _level(sizes: Sequence[int], most: int) -> int:
    """The largest number of pairs a kind may have so that all kinds together have at most `most`."""
    left, kinds = most, len(sizes)
    for size in sorted(sizes):
        if size * kinds > left:
            return left // kinds
        left, kinds = left - size, kinds - 1
    return max(sizes, default=0)


def _lot(pair: Pair) -> bytes:
    return hashlib.blake2b(f"{pair.query}\0{pair.document}".encode(), digest_size=8).digest()


def _file(row: TrainSource | Repository) -> str:
    if isinstance(row, Repository):
        return f"{_MINED}/{row.name.replace('/', '+')}.jsonl.gz"
    return f"{row.name}.jsonl.gz"


def _write(out: Path, file: str, pairs: Sequence[Pair], row: TrainSource | Repository) -> dict[str, Any]:
    if not pairs:
        raise ValueError(f"{row.name} gave no pair: its places hold none of the files that are read.")
    once = list({(pair.task, pair.query, pair.document): pair for pair in reversed(pairs)}.values())[::-1]
    write_pairs(out / file, once)
    if isinstance(row, Repository):
        places: list[Any] = [{"repository": row.name, "commit": row.commit}]
    else:
        places = [asdict(place) for place in row.where]
    return {
        "pairs": len(once),
        "repeats": len(pairs) - len(once),
        "tasks": sorted({pair.task for pair in once}),
        "licence": row.licence,
        "places": places,
    }


def _built(row: TrainSource | Repository, file: str, known: dict[str, Any], made: bool) -> BuiltSource:
    share_alike = get_licence(row.licence).share_alike
    tasks = tuple(known["tasks"])
    return BuiltSource(
        row.name, file, tasks, known["pairs"], known["repeats"], row.licence, share_alike, made
    )


def _row(
    name: str, tasks: Sequence[str], pairs: int, repeats: int, licence: str, remarks: Sequence[str]
) -> tuple[str, ...]:
    return name, ", ".join(tasks), f"{pairs:,}", f"{repeats:,}", licence, ", ".join(remarks)


def _read_record(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def _write_record(file: Path, record: dict[str, Any]) -> None:
    beside = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    beside.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    beside.replace(file)
