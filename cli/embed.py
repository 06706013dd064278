"""`codequarry embed`: its options, and how it reads what is embedded."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from codequarry.cli.model_options import add_runtime_option
from codequarry.cli.source_options import add_source_options, print_left_out
from codequarry.common.errors import UserError
from codequarry.modules.tasks import DEFAULT_TASK, SIDES, get_task

if TYPE_CHECKING:
    from codequarry.inference.bulk import Record

EXAMPLE = "codequarry embed path/to/code --out vectors"
MORE = """what is read:
  a folder            its code, in chunks, as search reads it; with path, lines and title of each
  FILE.jsonl          an object a line, with its text in --column; --keep names columns to write too
  FILE.jsonl.gz, FILE.parquet
  -                   JSON Lines from standard input
"""

_LONGEST = 1 << 26  # bytes of a line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `codequarry embed`."""
    add = parser.add_argument
    add("input", help="a folder of code, a file, or - for standard input: see below")
    add("--out", type=Path, required=True, help="the folder of the Parquet files; the same one resumes")
    add("--model", default="mini", help="mini, a model folder or a Hub name (default: mini)")
    add("--task", default=DEFAULT_TASK, help="whose prompt is put in front (default: %(default)s)")
    add("--side", choices=SIDES, default="document", help="of the task (default: %(default)s)")
    add("--dims", type=int, help="one of the model's Matryoshka dimensions")
    add(
        "--column", default="text", help="where the text is, in JSON Lines and Parquet (default: %(default)s)"
    )
    add("--keep", nargs="+", default=[], metavar="COLUMN", help="columns of the input to write too")
    add("--stored", choices=("float32", "float16"), default="float32", help="numbers (default: %(default)s)")
    add("--fp32", action="store_true", help="compute in float32 where bf16 is faster too")
    add_runtime_option(parser)
    add("--shard", type=int, default=2048, help="texts of a file (default: %(default)s)")
    add("--engine", choices=("local", "ray"), default="local",
        help="where: in this process, or by actors of Ray Data (default: %(default)s)")  # fmt: skip
    add("--address", help="of a Ray cluster, as ray start prints it (default: one on this machine)")
    add("--workers", type=int, help="actors of Ray, one core each (default: the cluster's cores)")
    add_source_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Embed as the parsed options say, and print what was done."""
    get_task(arguments.task)
    if arguments.shard < 1:
        raise UserError(f"--shard is {arguments.shard}: pass 1 or more texts.")
    if arguments.engine == "local" and (arguments.address is not None or arguments.workers is not None):
        raise UserError("--address and --workers are for --engine ray.")
    if arguments.fp32 and arguments.runtime == "int8":
        raise UserError("--fp32 and --runtime int8 exclude each other: leave one out.")
    records = _records(arguments)
    from codequarry.inference.bulk import Settings, embed_records, write_shards
    from codequarry.inference.encoder import arithmetic_of
    from codequarry.inference.open import open_model

    model = open_model(arguments.model, dims=arguments.dims, runtime=arguments.runtime, bars=False)
    settings = Settings(
        model.fingerprint,
        model.prompt_family.prefix(arguments.task, arguments.side),
        arguments.side,
        model.get_embedding_dimension() or 0,
        arithmetic_of(model, bf16=not arguments.fp32),
        arguments.stored,
        arguments.shard,
    )
    if arguments.engine == "ray":
        from codequarry.inference.bulk_ray import on_ray

        compute = on_ray(
            arguments.model, settings, dims=arguments.dims, runtime=arguments.runtime,
            address=arguments.address, workers=arguments.workers,
        )  # fmt: skip
        done = write_shards(records, compute, arguments.out, settings)
    else:
        done = embed_records(records, model, arguments.out, settings)
    print(
        f"{arguments.out}: {done.written:,} texts embedded, {done.kept:,} were there, {done.empty:,} of both "
        "give the model no token and have no vector"
    )


def _records(arguments: argparse.Namespace) -> "Iterator[Record]":
    path = Path(arguments.input)
    if arguments.input == "-":
        return _from_objects(_lines(sys.stdin.buffer, "standard input"), arguments, "standard input")
    if path.is_dir():
        return _from_tree(path, arguments)
    if not path.is_file():
        raise UserError(f"{path} is not here: pass a folder of code, a file, or - for standard input.")
    if path.name.endswith(".parquet"):
        from codequarry.data.pair_files import parquet_records

        return _from_objects(parquet_records(path), arguments, path.name)
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return _from_objects(_file_lines(path), arguments, path.name)
    raise UserError(f"{path} is of no kind that is read: pass .jsonl, .jsonl.gz, .parquet or a folder.")


def _from_tree(root: Path, arguments: argparse.Namespace) -> "Iterator[Record]":
    from codequarry.data.parsing.parse import read_source
    from codequarry.data.parsing.source_files import list_sources
    from codequarry.data.parsing.source_report import Choice, SourceReport
    from codequarry.inference.bulk import Record
    from codequarry.search.chunk import KIND_OF_TASK
    from codequarry.search.refresh import chunk_file

    report, choice = SourceReport(), Choice(tuple(arguments.include), tuple(arguments.exclude))
    kind = KIND_OF_TASK[arguments.task]
    for path in list_sources(root, report, choice):
        source = read_source(root, path, report, choice)
        for chunk in chunk_file(source) if source else ():
            if chunk.kind == kind:
                place: dict[str, str | int | None] = {
                    "path": chunk.path,
                    "start_line": chunk.start_line,
                    "end_line": chunk.end_line,
                    "title": chunk.title,
                }
                yield Record(chunk.text, place)
    print_left_out(tuple(sorted(report.left_out)), arguments)


def _file_lines(path: Path) -> Iterator[tuple[int, Any]]:
    import gzip

    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            yield from _lines(file, path.name)
    except (OSError, EOFError) as damage:
        raise UserError(f"{path.name} is damaged or cut off ({damage}).") from damage


def _lines(file: IO[bytes], name: str) -> Iterator[tuple[int, Any]]:
    number = 0
    while line := file.readline(_LONGEST + 1):
        number += 1
        if len(line) > _LONGEST:
            raise UserError(f"{name}, line {number}: it is longer than {_LONGEST:,} bytes.")
        if line.isspace():
            continue
        try:
            yield number, json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{name}, line {number} is not JSON ({error}).") from error


def _from_objects(
    rows: Iterable[tuple[int, Any]], arguments: argparse.Namespace, name: str
) -> "Iterator[Record]":
    from codequarry.inference.bulk import Record

    reserved = {"row", "sha256", "vector"} & set(arguments.keep)
    if reserved:
        raise UserError(f"--keep {reserved.pop()}: the files have a column of that name already.")
    kinds: dict[str, type] = {}
    for number, row in rows:
        if isinstance(row, UserError):
            raise UserError(f"{name}, record {number}: {row}")
        text = row.get(arguments.column) if isinstance(row, dict) else None
        if not isinstance(text, str):
            raise UserError(
                f"{name}, record {number} has no text in {arguments.column!r}: name its column with --column."
            )
        kept = {column: row.get(column) for column in arguments.keep}
        for column, value in kept.items():
            kind = kinds.setdefault(column, type(value)) if value is not None else None
            if kind is not None and (kind not in (str, int) or type(value) is not kind):
                raise UserError(
                    f"{name}, record {number}: {column} is {value!r}; a column that is kept holds strings, "
                    "or whole numbers."
                )
        yield Record(text, kept)
