"""Pairs in files: JSON Lines, JSON Lines under gzip, or Parquet, one file or a folder of them.

A bad line is named with its file and number before anything else happens, so that no training run starts
on data that is not what its owner thinks it is.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from tqdm import tqdm

from codequarry.common.errors import MissingPackageError, UserError
from codequarry.common.files import atomic_path
from codequarry.data.pair import REQUIRED, Pair
from codequarry.data.pair_columns import ColumnsError, PairColumns, source_name

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
_BAR_EVERY = 2_000  # records between two looks at the progress bar


class PairError(UserError):
    """A file of pairs holds something that is not a pair; the message names file and line."""


@dataclass(frozen=True, slots=True)
class PairRead:
    """What was read: the pairs in order, how many bad records were left out, and the files.

    notes: sentences on columns that were renamed or passed over, and on files that were left out whole.
    """

    pairs: list[Pair]
    skipped: int
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def read_pairs(
    path: Path | str,
    *,
    columns: Mapping[str, str] | None = None,
    task: str | None = None,
    skip_bad: bool = False,
    progress: bool = True,
) -> PairRead:
    """Every pair of a file, or of all pair files directly in a folder, by file name.

    Folders inside the folder are not read: what `mine` writes keeps `train` and `heldout` apart so. A null is
    an absent field in every format. Known layouts of other tools are read too, see `PairColumns`.
    columns: names of columns by field of a pair, for files that call them otherwise.
    task: of records that name none.
    skip_bad: count bad records instead of stopping; of a truncated file the lines before the cut are kept.
    progress: show a bar once reading has taken two seconds.

    Raises PairError at the first bad record, with file, line (row in Parquet) and reason; for a file in which
    no record is a pair, once, with what is wrong with the first; and where there are no pairs at all.

    >>> pairs = read_pairs("mined/train").pairs  # doctest: +SKIP
    """
    files = pair_files(Path(path))
    reader = PairColumns(columns, task)
    pairs: list[Pair] = []
    faults: list[str] = []
    skipped = 0
    size = sum(file.stat().st_size for file in files)
    options: dict[str, Any] = {"unit": "B", "unit_scale": True, "delay": 2, "leave": False}
    with tqdm(total=size, desc="reading pairs", disable=not progress, **options) as bar:
        for file in files:
            before = len(pairs)
            bad, first = _read_file(file, reader, pairs, skip_bad, bar)
            skipped += bad
            if first is not None and len(pairs) == before:
                faults.append(_whole_fault(file, bad, *first))
    if not pairs:
        why = f" {faults[0]}" if faults else ""
        raise PairError(f"{path} holds no pair: {len(files)} file(s) read, {skipped} bad line(s).{why}")
    return PairRead(pairs, skipped, files, (*reader.notes(), *faults))


_ALL_ALIKE = 1_000  # records; a file that begins with so many that are no pairs is not read further


def _read_file(
    file: Path, reader: PairColumns, pairs: list[Pair], skip_bad: bool, bar: "tqdm[Any]"
) -> tuple[int, tuple[int, UserError] | None]:
    """Add the pairs of a file; returns how many records are bad, and the first with its position."""
    bad, first, before = 0, None, len(pairs)
    source = source_name(file)
    for position, found in _records(file, bar):
        try:
            if isinstance(found, UserError):
                raise found
            pairs += reader.pairs(found, source)
        except UserError as reason:
            bad += 1
            first = first or (position, reason)
            if not skip_bad and (len(pairs) > before or bad == _ALL_ALIKE):
                break
        else:
            if first is not None and not skip_bad:
                break
    if first is None or skip_bad:
        return bad, first
    position, fault = first
    if len(pairs) == before and (bad > 1 or isinstance(fault, ColumnsError)):
        raise PairError(_whole_fault(file, bad, position, fault)) from fault
    raise PairError(
        f"{file}:{position}: {fault} Correct it, or pass --skip-bad (skip_bad=True) to leave such lines out "
        "and count them."
    ) from fault


def _whole_fault(file: Path, bad: int, position: int, reason: UserError) -> str:
    first = " first" if bad == _ALL_ALIKE else ""
    of = f"none of its{first} {bad:,} records is a pair" if bad > 1 else "its one record is no pair"
    place = "" if isinstance(reason, ColumnsError) else f" Number {position}:"
    return f"{file}: {of}.{place} {reason}"


def pair_files(path: Path) -> tuple[Path, ...]:
    """The pair files at a path: the file itself, or those lying directly in the folder, sorted by name.

    Raises PairError where there are none, with what was looked for.
    """
    wanted = ", ".join(f"*{suffix}" for suffix in SUFFIXES)
    if path.is_file():
        if not path.name.endswith(SUFFIXES):
            raise PairError(f"{path} is not a file of pairs by its name: expected {wanted}.")
        return (path,)
    if not path.is_dir():
        raise PairError(f"{path} is not there: pass a file or a folder with {wanted}.")
    files = _directly_in(path)
    if not files:
        inside = [
            folder.name for folder in sorted(path.iterdir()) if folder.is_dir() and _directly_in(folder)
        ]
        hint = f" Some lie in its folders {', '.join(inside)}: pass one of these." if inside else ""
        raise PairError(f"{path} holds no file of pairs: looked for {wanted}.{hint}")
    return files


def check_suffix(path: Path) -> None:
    """Raise UserError for a file to write whose name has none of the `SUFFIXES`."""
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"{path.name} has none of the endings of a pair file: {', '.join(SUFFIXES)}.")


def write_pairs(path: Path | str, pairs: Iterable[Pair]) -> None:
    """Write pairs to one file, its kind by the name: `.jsonl`, `.jsonl.gz` or `.parquet`.

    The same pairs give the same bytes. The file appears whole under its name or not at all.

    Raises UserError for another ending.
    """
    path = Path(path)
    check_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            write_parquet(temporary, pairs)
            return
        with temporary.open("wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
                    _write_lines(cast(IO[bytes], packed), pairs)
            else:
                _write_lines(raw, pairs)


def fingerprint(path: Path | str) -> str:
    """A sha256 over the names and bytes of the pair files at a path: it changes when the data does.

    Raises PairError where there are none.
    """
    whole = hashlib.sha256()
    for file in pair_files(Path(path)):
        with file.open("rb") as opened:
            content = hashlib.file_digest(opened, "sha256").hexdigest()
        whole.update(f"{file.name}\0{content}\n".encode())
    return whole.hexdigest()


def _directly_in(folder: Path) -> tuple[Path, ...]:
    files = (file for file in folder.iterdir() if file.name.endswith(SUFFIXES) and file.is_file())
    return tuple(sorted(file for file in files if not file.name.startswith(".")))


def _records(file: Path, bar: "tqdm[Any]") -> "Iterator[tuple[int, Any]]":
    """Position and content of each record; the content is the error itself where a record is broken."""
    if file.suffix == ".parquet":
        yield from parquet_records(file)
        bar.update(file.stat().st_size)
        return
    with file.open("rb") as raw:
        lines = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if file.suffix == ".gz" else raw
        number = seen = 0
        try:
            for number, line in enumerate(lines, 1):
                if number % _BAR_EVERY == 0:
                    bar.update(raw.tell() - seen)
                    seen = raw.tell()
                if not line.isspace():
                    yield number, _parsed(line, first=number == 1)
        except (OSError, EOFError, zlib.error) as damage:
            yield number + 1, UserError(f"The file is damaged or cut off here ({damage}).")
        bar.update(raw.tell() - seen)


def _parsed(line: bytes, first: bool) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig" if first else "utf-8"))
    except UnicodeDecodeError as error:
        return UserError(f"The line is not UTF-8 (byte {error.start + 1}).")
    except json.JSONDecodeError as error:
        return UserError(f"The line is not JSON ({error.msg}, column {error.colno}).")
    except (ValueError, RecursionError) as error:
        return UserError(f"The line is not JSON that can be read ({error}).")


def _write_lines(file: IO[bytes], pairs: Iterable[Pair]) -> None:
    for pair in pairs:
        file.write(json.dumps(pair.to_record(), ensure_ascii=False).encode() + b"\n")


def parquet_records(file: Path) -> Iterator[tuple[int, Any]]:
    """Number and content of each row, from 1; the content is a UserError where the file is broken."""
    pyarrow = _pyarrow()
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            for batch in table.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError, ValueError) as damage:
        yield number + 1, UserError(f"The file is damaged or no Parquet ({damage}).")


def write_parquet(path: Path, pairs: Iterable[Pair]) -> None:
    """Write pairs as one table of strings, `negatives` a list of them."""
    pyarrow = _pyarrow()
    schema = pyarrow.schema(
        [(name, pyarrow.string()) for name in REQUIRED] + [("negatives", pyarrow.list_(pyarrow.string()))]
    )
    rows = [{"negatives": None} | pair.to_record() for pair in pairs]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), path)


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as missing:
        raise MissingPackageError(
            "Parquet files need pyarrow, which is not installed: run `pip install 'codequarry[train]'`."
        ) from missing
    return pyarrow


HELD_OUT = "heldout"


def pair_folders(path: Path, *, subfolders: bool = False) -> list[Path]:
    """The folders with pairs at a path: itself, or with `subfolders` every folder in it that has some.

    Folders called `heldout`, hidden ones and all inside them are left out: what is kept for measuring
    never trains.
    """
    if not subfolders or not path.is_dir():
        return [path]
    folders = [path, *(folder for folder in sorted(path.rglob("*")) if folder.is_dir())]
    return [folder for folder in folders if _is_open(folder.relative_to(path)) and _directly_in(folder)] or [
        path
    ]


def read_pair_folders(
    path: Path,
    *,
    subfolders: bool = False,
    columns: Mapping[str, str] | None = None,
    task: str | None = None,
    skip_bad: bool = False,
) -> PairRead:
    """Every pair at a path, as `read_pairs` gives them, folder after folder by name.

    Raises PairError as `read_pairs` does.
    """
    reads = [
        read_pairs(folder, columns=columns, task=task, skip_bad=skip_bad)
        for folder in pair_folders(path, subfolders=subfolders)
    ]
    return PairRead(
        [pair for read in reads for pair in read.pairs],
        sum(read.skipped for read in reads),
        tuple(file for read in reads for file in read.files),
        tuple(dict.fromkeys(note for read in reads for note in read.notes)),
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
