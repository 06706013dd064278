"""Many texts into files of vectors: shards in Parquet, written whole, skipped when they are there already."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from tqdm import tqdm

from codequarry.common.errors import MissingPackageError, UserError
from codequarry.common.files import atomic_path, read_json, text_sha256, write_json
from codequarry.inference.encoder import Encoder, TaskModel, all_but, unit_vectors
from codequarry.modules.tasks import Side
from codequarry.modules.text_checks import refuse_unreadable

if TYPE_CHECKING:
    from codequarry.inference.encoder import Vectors

SETTINGS = "embeddings.json"
SHARD = 2048  # texts of a file: what a kill costs at most
StoredType = Literal["float32", "float16"]

_METADATA = b"codequarry"


@dataclass(frozen=True, slots=True)
class Record:
    """A text, and what is written beside its vector: `columns`, strings and whole numbers by name."""

    text: str
    columns: Mapping[str, str | int | None]


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the vectors of a folder depend on besides the texts; in `embeddings.json` and each file.

    fingerprint: of the model.
    prompt: in front of each text. side: of the task, `query` or `document`.
    dims: dimensions of a vector.
    arithmetic: what vectors are computed in.
    stored: the type of a number in the files.
    shard: texts of a file.
    """

    fingerprint: str
    prompt: str
    side: Side
    dims: int
    arithmetic: str
    stored: StoredType
    shard: int


@dataclass(frozen=True, slots=True)
class Embedded:
    """What was done. written, kept: texts embedded now and by an earlier run; empty: those of no vector."""

    written: int
    kept: int
    empty: int


# Takes the numbers and texts of files, and gives for each, in any order, its number, the unit vectors of the
# texts that have tokens, and the positions of those that have none. It asks for few at a time.
Compute = Callable[[Iterator[tuple[int, list[str]]]], "Iterator[tuple[int, Vectors, list[int]]]"]


def embed_records(
    records: Iterable[Record], model: TaskModel, out: Path, settings: Settings, *, progress: bool = True
) -> Embedded:
    """Write `out/part-00000.parquet` and so on, each of `settings.shard` records in their order.

    A file has a row a record: `row` (its number, from 0), `sha256` of the text, the record's columns, and
    `vector`, of length 1; null for a text that gives the model no token. Its metadata has the settings and a
    hash of what is in it. A file that has the settings and the hash of the records that belong there is kept,
    so a run that was killed resumes, and a changed input costs the files that changed. Files behind the last
    record are removed.

    Memory is that of one file's records, however many there are.

    Raises UserError for a folder with other settings, and for half a surrogate pair; MissingPackageError
    without pyarrow.

    >>> embed_records([Record("x = 1", {"id": "a"})], model, Path("vectors"), settings)
    Embedded(written=1, kept=0, empty=0)
    """
    encoder = Encoder(model)

    def here(files: Iterator[tuple[int, list[str]]]) -> "Iterator[tuple[int, Vectors, list[int]]]":
        for number, texts in files:
            yield number, *shard_vectors(encoder, texts, settings)

    return write_shards(records, here, out, settings, progress=progress)


def write_shards(
    records: Iterable[Record], compute: Compute, out: Path, settings: Settings, *, progress: bool = True
) -> Embedded:
    """`embed_records`, whose vectors come from `compute`."""
    pyarrow = _pyarrow()
    if settings.stored not in get_args(StoredType):
        raise UserError(
            f"vectors of {settings.stored} are not known: pass {' or '.join(get_args(StoredType))}."
        )
    _claim(out, settings)
    written = kept = empty = shards = 0
    waiting: dict[int, tuple[list[Record], str]] = {}
    with tqdm(desc="embedding", unit=" texts", delay=2, disable=None if progress else True) as bar:

        def missing() -> Iterator[tuple[int, list[str]]]:
            nonlocal kept, empty, shards
            for number, group in enumerate(_groups(records, settings.shard)):
                mark, shards = _mark(group, settings), number + 1
                if (found := _holds(out / _name(number), mark)) is not None:
                    kept, empty = kept + len(group), empty + found
                    bar.update(len(group))
                    continue
                texts = [record.text for record in group]
                refuse_unreadable(texts)
                waiting[number] = group, mark
                yield number, texts

        for number, vectors, silent in compute(missing()):
            group, mark = waiting.pop(number)
            table = _table(pyarrow, group, number * settings.shard, vectors, silent, settings)
            metadata = {"mark": mark, "empty": len(silent), **asdict(settings)}
            table = table.replace_schema_metadata({_METADATA: json.dumps(metadata).encode()})
            with atomic_path(out / _name(number)) as temporary:
                # A dictionary of numbers that are all different took 30 MB, and made the file larger.
                own = list(group[0].columns)
                pyarrow.parquet.write_table(table, temporary, compression="zstd", use_dictionary=own)
            written, empty = written + len(group), empty + len(silent)
            bar.update(len(group))
    for file in out.glob("part-*.parquet"):
        if file.stem.removeprefix("part-").isdigit() and int(file.stem.removeprefix("part-")) >= shards:
            file.unlink()
    return Embedded(written, kept, empty)


def _name(number: int) -> str:
    return f"part-{number:05}.parquet"


def _claim(out: Path, settings: Settings) -> None:
    """Write the settings into a new folder, or compare them with those that are there."""
    path = out / SETTINGS
    if path.is_file():
        before: Any = read_json(path)
        wanted = asdict(settings)
        if not isinstance(before, dict) or before != wanted:
            other = [
                name for name in wanted if not isinstance(before, dict) or before.get(name) != wanted[name]
            ]
            raise UserError(
                f"{out} holds vectors of other settings ({', '.join(other)} differ, see {SETTINGS}): pass "
                "another --out, or the settings it was begun with."
            )
    elif out.is_dir() and any(not inside.name.startswith(".") for inside in out.iterdir()):
        raise UserError(f"{out} has files in it and no {SETTINGS}: pass an empty or a new folder.")
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(settings))


def _groups(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    coming = iter(records)
    while group := list(islice(coming, size)):
        yield group


def _mark(group: list[Record], settings: Settings) -> str:
    """sha256 over the texts and columns of a file and the settings of its vectors."""
    found = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    for record in group:
        found.update(text_sha256(record.text))
        found.update(json.dumps(sorted(record.columns.items())).encode())
    return found.hexdigest()


def _holds(file: Path, mark: str) -> int | None:
    """How many texts of a file are empty; None where it is not whole, or has another mark."""
    pyarrow = _pyarrow()
    try:
        metadata = pyarrow.parquet.read_schema(file).metadata
        found = json.loads(metadata[_METADATA])
        return int(found["empty"]) if found["mark"] == mark else None
    except (OSError, pyarrow.ArrowException, ValueError, KeyError, TypeError):
        return None


def shard_vectors(encoder: Encoder, texts: list[str], settings: Settings) -> "tuple[Vectors, list[int]]":
    """Unit vectors of the texts that have tokens, and the positions of those that have none."""
    silent = encoder.empty_texts(texts, settings.prompt)
    kept = all_but(texts, silent)
    if not kept:
        return np.zeros((0, settings.dims), dtype=np.float32), silent
    found = encoder.encode(
        kept, settings.prompt, side=settings.side, dims=settings.dims, bf16=settings.arithmetic == "bf16"
    )
    if not np.isfinite(found).all():
        raise UserError("the model gave a vector that is not finite: its weights are damaged.")
    return unit_vectors(found), silent


def _table(
    pyarrow: Any, group: list[Record], first: int, vectors: "Vectors", silent: list[int], settings: Settings
) -> Any:
    full = np.zeros((len(group), settings.dims), dtype=settings.stored)
    mask = np.zeros(len(group), dtype=bool)
    mask[silent] = True
    full[~mask] = vectors
    numbers = pyarrow.array(full.reshape(-1))
    columns = {
        "row": pyarrow.array(range(first, first + len(group)), pyarrow.int64()),
        "sha256": pyarrow.array([text_sha256(record.text).hex() for record in group]),
        **{name: _column(pyarrow, [record.columns[name] for record in group]) for name in group[0].columns},
        "vector": pyarrow.FixedSizeListArray.from_arrays(numbers, settings.dims, mask=pyarrow.array(mask)),
    }
    return pyarrow.table(columns)


def _column(pyarrow: Any, values: list[str | int | None]) -> Any:
    whole = any(isinstance(value, int) for value in values)
    return pyarrow.array(values, pyarrow.int64() if whole else pyarrow.string())


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as missing:
        raise MissingPackageError(
            "files of vectors need pyarrow, which is not installed: pip install 'codequarry[train]'"
        ) from missing
    return pyarrow
