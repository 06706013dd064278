"""Build evaluation sets and training pairs from their public sources, on the machine of whoever wants them.

build_eval(Path("eval"))                                    # every set
build_eval(Path("eval"), names=["mbpp", "completion_py"], mirrors=Path("clones"))
build_train(Path("train"))                                  # every source, and the mined repositories
build_train(Path("train"), names=["wikisql", "tldr"], mirrors=Path("clones"))
"""

import hashlib
import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from tqdm import tqdm

from codequarry.common.errors import UserError, did_you_mean
from codequarry.common.files import write_text
from codequarry.common.tables import text_table
from codequarry.data.catalog.fetch import LOCK, UnreachableError, files_of, records_of
from codequarry.data.catalog.registry import (
    EVAL_SOURCES,
    TRAIN_SOURCES,
    get_eval_source,
    hub_sources,
    mined_repositories,
    refuse,
)
from codequarry.data.catalog.schema import EvalSource, Git, Hub, Repository, TrainSource, get_licence
from codequarry.data.eval_set import ABOUT, CORPUS, QUERIES, write_eval_set
from codequarry.data.mining.schema import KINDS
from codequarry.data.mixture import even_cap
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs

LicenceChoice = Literal["permissive", "commercial", "any"]
RECORD = "build.json"
_MINED = "mined"


@dataclass(frozen=True)
class BuiltSet:
    """One set on disk.

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

    Raises UserError for an unknown name and for a source that cannot be read; the sets made until then stay.
    """
    rows = [get_eval_source(name) for name in (names if names is not None else EVAL_SOURCES)]
    out.mkdir(parents=True, exist_ok=True)
    built = []
    for row in tqdm(rows, "building", unit=" sets", delay=2, disable=not progress, leave=False):
        folder, share = out / row.name, get_licence(row.licence).redistributable
        made = not _is_built(folder, row)
        if made:
            with _layout_errors(row):
                found = row.read(files_of(row.where, mirrors, index))
            write_eval_set(folder, found, about(row))
        queries, documents = ((folder / file).read_bytes().count(b"\n") for file in (QUERIES, CORPUS))
        built.append(BuiltSet(row.name, row.task, queries, documents, row.licence, share, made))
    return built


def eval_table(built: Sequence[BuiltSet]) -> str:
    """The sets as a table in plain text."""
    cells = [("set", "task", "queries", "documents", "licence", "")]
    for one in built:
        remarks = [] if one.made else ["kept"]
        remarks += [] if one.redistributable else ["do not pass on"]
        cells.append(
            (one.name, one.task, f"{one.queries:,}", f"{one.documents:,}", one.licence, ", ".join(remarks))
        )
    return text_table(cells, right=(2, 3))


def about(row: EvalSource) -> dict[str, Any]:
    """What `set.json` says of a set besides its task: what is needed to make it again, and its licence."""
    return {
        "sources": _places(row),
        "licence": row.licence,
        "redistributable": get_licence(row.licence).redistributable,
        "languages": list(row.languages),
        "mirrors": row.mirrors,
        "faithful": row.faithful,
        "in_mean": row.in_mean,
        "row": fingerprint(row),
    }


def _is_built(folder: Path, row: EvalSource) -> bool:
    """Whether the set in a folder was made from this row; a set appears whole, so its texts are not read."""
    whole = (folder / QUERIES).is_file() and (folder / CORPUS).is_file()
    return whole and _read_record(folder / ABOUT).get("row") == fingerprint(row)


@dataclass(frozen=True)
class BuiltSource:
    """One file of pairs on disk.

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

    Raises UserError before anything is done for an unknown name and for a repository that is never mined,
    and later for a source that cannot be read; the files made until then stay.
    """
    if licences not in get_args(LicenceChoice):
        raise UserError(f"{licences!r} is no choice of licences: pass {', '.join(get_args(LicenceChoice))}.")
    if max_pairs_per_repository < len(KINDS):
        raise UserError(
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
    rows: list[TrainSource | Repository] = [*sources, *repositories]
    build.left_out.update((row.name, why) for row in rows if (why := _forbidden(row.licence, licences)))
    wanted = [row for row in rows if row.name not in build.left_out]
    for row in tqdm(wanted, "building", unit=" sources", delay=2, disable=not progress, leave=False):
        folder = f"{_MINED}/" if isinstance(row, Repository) else ""
        file = f"{folder}{row.name.replace('/', '+')}.jsonl.gz"
        row_hash = fingerprint(row, max_pairs_per_repository)
        known = record.get(file, {})
        made = known.get("row") != row_hash or not (out / file).is_file()
        if made:
            try:
                pairs = _pairs(row, mirrors, out / LOCK, max_pairs_per_repository)
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
            write_text(out / RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")
        tasks, share_alike = tuple(known["tasks"]), get_licence(row.licence).share_alike
        build.built.append(
            BuiltSource(
                row.name, file, tasks, known["pairs"], known["repeats"], row.licence, share_alike, made
            )
        )
    return build


def train_table(build: TrainBuild) -> str:
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
    return "\n".join([text_table(cells, right=(2, 3)), *left_out])


def _chosen(names: Sequence[str] | None, mined: bool) -> tuple[list[TrainSource], list[Repository]]:
    if names is None:
        return list(TRAIN_SOURCES.values()), list(mined_repositories()) if mined else []
    known = {**TRAIN_SOURCES, **hub_sources()}
    repositories = {row.name: row for row in mined_repositories()}
    unknown = [name for name in names if name not in known and name not in repositories]
    if unknown:
        raise UserError(
            f"{unknown[0]!r} is no source of training pairs: pass some of {', '.join(known)}, or one of the "
            f"{len(repositories)} repositories in data/catalog/repositories.toml."
            f"{did_you_mean(unknown[0], [*known, *repositories])}"
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


def _pairs(row: TrainSource | Repository, mirrors: Path | None, lock: Path, most: int) -> list[Pair]:
    if isinstance(row, Repository):
        return _mined(row, mirrors, most)
    on_hub = [place for place in row.where if isinstance(place, Hub)]
    with _layout_errors(row):
        return list(row.read(records_of(on_hub, lock) if on_hub else files_of(row.where, mirrors)))


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
    level = even_cap(map(len, found.values()), most)
    return [pair for pairs in found.values() for pair in sorted(pairs, key=_lot)[:level]]


def _lot(pair: Pair) -> bytes:
    return hashlib.blake2b(f"{pair.query}\0{pair.document}".encode(), digest_size=8).digest()


def _write(out: Path, file: str, pairs: Sequence[Pair], row: TrainSource | Repository) -> dict[str, Any]:
    if not pairs:
        raise UserError(f"{row.name} gave no pair: its places hold none of the files that are read.")
    once = list({(pair.task, pair.query, pair.document): pair for pair in reversed(pairs)}.values())[::-1]
    write_pairs(out / file, once)
    if isinstance(row, Repository):
        places: Any = [{"repository": row.name, "commit": row.commit}]
    else:
        places = _places(row)
    return {
        "pairs": len(once),
        "repeats": len(pairs) - len(once),
        "tasks": sorted({pair.task for pair in once}),
        "licence": row.licence,
        "places": places,
    }


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


def fingerprint(row: EvalSource | TrainSource | Repository, max_pairs: int | None = None) -> str:
    """A hash of what decides the texts that a row gives: its places, and the code that reads them.

    max_pairs: of a mined repository.
    """
    if isinstance(row, Repository):
        import codequarry.data.mining.mine as mining

        # What mining rests on elsewhere in the room shows in the pairs of its own tests.
        files = sorted(Path(mining.__file__).parent.glob("*.py"))
        made_of = [row.name, row.commit, max_pairs, *(file.read_text(encoding="utf-8") for file in files)]
    else:
        read = row.read.func if isinstance(row.read, partial) else row.read
        reader = sys.modules[read.__module__]
        # An evaluation set is compared over years; of training pairs only the readers count.
        readers = "codequarry.data." if isinstance(row, EvalSource) else f"{__package__}.datasets"
        used = {str(getattr(value, "__module__", "")) for value in vars(reader).values()}
        modules = [reader.__name__, *sorted(name for name in used if name.startswith(readers))]
        made_of = [row.name, _places(row), *(inspect.getsource(sys.modules[name]) for name in modules)]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def _places(row: EvalSource | TrainSource) -> Any:
    """The places of a row as JSON holds them."""
    return json.loads(json.dumps([asdict(place) for place in row.where]))


@contextmanager
def _layout_errors(row: EvalSource | TrainSource) -> Iterator[None]:
    """Turn what a reader raises over unexpected files into a sentence."""
    try:
        yield
    except (KeyError, TypeError, IndexError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(
            f"The source of {row.name} is not laid out as expected ({type(error).__name__}: {error}). Is "
            "the mirror whole?"
        ) from error
