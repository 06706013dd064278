"""Ask a checkout a question: its index is brought in step with the files first, then searched."""

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from codequarry.common.errors import UserError, some
from codequarry.common.tables import shown
from codequarry.data.parsing.source_report import Choice, LeftOut, SourceReport
from codequarry.inference.encoder import Encoder, TaskModel, Vectors
from codequarry.modules.tasks import DEFAULT_TASK, get_task
from codequarry.search.chunk import IN_WORDS, KIND_OF_TASK, Chunk, Kind
from codequarry.search.database import DamagedIndex, database_path, open_database, reading, set_aside
from codequarry.search.index import count, embed_missing, read_chunk, read_corpus, space_number
from codequarry.search.refresh import read_changes


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer.

    path: relative to the root. start_line, end_line: 1-based, inclusive.
    score: cosine similarity, at most 1.
    title: `Class.method` or heading path; "" for code outside a definition.
    """

    path: str
    start_line: int
    end_line: int
    score: float
    title: str
    text: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Refresh:
    """What was done to bring the index up to date before the search.

    files, chunks: how many the checkout has; chunks of the kind that was searched.
    embedded, reused: different texts of that kind that were embedded now, and that had a vector already.
    skipped: files and folders left out, by reason.
    seconds: for all of it.
    left_out: each of these files and folders.
    """

    files: int
    chunks: int
    embedded: int
    reused: int
    skipped: Mapping[str, int]
    seconds: float
    left_out: tuple[LeftOut, ...] = ()


class NothingToSearch(UserError):
    """A folder in which nothing was read; `left_out` says what was there."""

    def __init__(self, message: str, left_out: Sequence[LeftOut]) -> None:
        super().__init__(message)
        self.left_out = left_out


@dataclass(frozen=True, slots=True)
class Answers:
    """The hits of one query, best first, and what the refresh of the index did."""

    query: str
    task: str
    hits: tuple[Hit, ...]
    refresh: Refresh


def search(
    query: str,
    root: Path,
    model: TaskModel,
    *,
    task: str = DEFAULT_TASK,
    top: int = 10,
    cache: Path | None = None,
    progress: bool = True,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Answers:
    """The chunks of a checkout that answer a query best.

    Arguments:
        query: words or code, depending on the task.
        root: the folder that holds the checkout. Its index is made at the first search, and only what
            changed since is embedded at the next.
        model: what `codequarry.load` gave.
        task: one of the five; it decides which kind of chunk is searched (`kinds.KIND_OF_TASK`).
        top: how many answers at most.
        cache: folder of the indexes; None for CODEQUARRY_CACHE, or else the user's cache folder.
        progress: show bars on standard error while reading and embedding.
        include: patterns, as in a `.gitignore`, of files and folders that are read although they would be
            left out.
        exclude: patterns of those that are not read.

    Raises UserError for a query that is blank, not UTF-8 or gives the model no token, an unknown task, a root
    that is not a folder or holds nothing this task searches, and a cache folder that cannot be written.

    >>> search("parse a date", Path("."), codequarry.load("mini")).hits[0].path
    """
    get_task(task)
    if not query.strip():
        raise UserError("the query is blank: say in words, or in code, what you are looking for.")
    if top < 1:
        raise UserError(f"top is {top}: ask for at least 1 answer.")
    if not root.is_dir():
        kind = "a file" if root.exists() else "not there"
        raise UserError(f"{root} is {kind}: pass the folder that holds the code.")
    Encoder(model).check_query(query, task)
    path = database_path(root, cache)
    choice = Choice(tuple(include), tuple(exclude))
    run = partial(_search, path, query, root, model, task, top, progress, choice)
    try:
        return run()
    except DamagedIndex:
        set_aside(path)
        return run()


def _search(
    path: Path,
    query: str,
    root: Path,
    model: TaskModel,
    task: str,
    top: int,
    progress: bool,
    choice: Choice,
) -> Answers:
    started = time.perf_counter()
    kind = KIND_OF_TASK[task]
    with open_database(path, root) as connection:
        report = read_changes(connection, root, progress, choice)
        files, chunks, texts = count(connection, kind)
        _check_found(root, task, files, chunks, report)
        encoder = Encoder(model)
        space = encoder.space(task)
        number = space_number(connection, space)

        def embed(batch: list[str]) -> Vectors:
            return encoder.encode_documents(batch, space)

        embedded = embed_missing(connection, kind, number, embed, progress)
        seconds = time.perf_counter() - started
        left_out = tuple(sorted(report.left_out))
        refresh = Refresh(files, chunks, embedded, texts - embedded, dict(report.skipped), seconds, left_out)
        query_D = encoder.encode_query(query, task, space)
        with reading(connection):
            corpus = read_corpus(connection, kind, number, space.dims)
            # Equal texts have equal scores only up to the last bits of a matrix product: rounded, they keep
            # the order of path and line.
            scores_C = np.round(corpus.vectors @ query_D, 6)
            order = np.argsort(-scores_C, kind="stable")
            ranked = ((read_chunk(connection, corpus.ids[row]), float(scores_C[row])) for row in order)
            hits = tuple(_hit(chunk, score) for chunk, score in _best_of_each_unit(ranked, top))
    return Answers(query, task, hits, refresh)


def _check_found(root: Path, task: str, files: int, chunks: int, report: SourceReport) -> None:
    if chunks:
        return
    if not files:
        passed_over = ", ".join(f"{number} {reason}" for reason, number in sorted(report.skipped.items()))
        names = some([shown(one.path) for one in sorted(report.left_out)])
        raise NothingToSearch(
            f"{root} holds no file that can be read as code or text"
            + (f" (passed over: {passed_over}: {names})." if passed_over else ".")
            + " Pass the folder of a checkout, or name files to read with --include.",
            report.left_out,
        )
    raise UserError(
        f"task {task!r} searches {IN_WORDS[KIND_OF_TASK[task]]}, and the {files} files read in {root} "
        "have none. Try another task."
    )


def _best_of_each_unit(ranked: Iterable[tuple[Chunk, float]], top: int) -> Iterator[tuple[Chunk, float]]:
    """The first `top` chunks of which no better one is a window of the same unit, or shares lines with it."""
    taken: dict[str, list[Chunk]] = {}
    left = top
    for chunk, score in ranked:
        others = taken.setdefault(chunk.path, [])
        if any(_same_unit(chunk, other) for other in others):
            continue
        others.append(chunk)
        yield chunk, score
        left -= 1
        if not left:
            return


def _same_unit(one: Chunk, other: Chunk) -> bool:
    overlap = one.start_line <= other.end_line and other.start_line <= one.end_line
    return overlap or one.unit_line == other.unit_line


def _hit(chunk: Chunk, score: float) -> Hit:
    return Hit(chunk.path, chunk.start_line, chunk.end_line, score, chunk.title, chunk.text, chunk.kind)


WIDEST = 80  # characters of a first line that are shown

# A comment, decorator, bracket or __future__ import describes a piece of code less than the next line.
_UNINFORMATIVE = re.compile(
    r"""(from\s__future__\s|\#(\s|!|$)|\#!?\[|//|/\*|\*(\s|/|$)|--\s|<!--|\"\"\"|'''|@[\w.]+(\(.*)?$|\W*$)""",
    re.VERBOSE,
)


def first_line(hit: Hit) -> str:
    """The first informative line of a hit: not blank, a decorator, a bracket or only a comment.

    A signature that opens with a bare `def f(` is continued with the lines below it.
    """
    lines = [line.strip() for line in hit.text.split("\n") if line.strip()]
    if hit.kind != "code":
        return lines[0]
    start = next((number for number, line in enumerate(lines) if not _UNINFORMATIVE.match(line)), 0)
    first, *rest = lines[start:]
    while rest and first.endswith(("(", ",")) and len(first) < WIDEST:
        first += " " * first.endswith(",") + rest.pop(0)
    return first


def render(hits: Sequence[Hit]) -> str:
    """One line per hit, aligned: place, score, first line; control characters are shown, not sent.

    >>> print(render(answers.hits))
    cache/lru.py:14-31   0.612  def evict(self) -> None:
    cache/clock.py:3-9   0.547  class Clock:
    """
    places = [f"{shown(hit.path)}:{hit.start_line}-{hit.end_line}" for hit in hits]
    width = max(map(len, places), default=0)
    return "\n".join(
        f"{place:<{width}}  {hit.score:6.3f}  {_clipped(first_line(hit))}"
        for place, hit in zip(places, hits, strict=True)
    )


def as_json(answers: Answers) -> str:
    """The same as JSON: query, task, hits with their whole text, and the refresh."""
    record = asdict(answers)
    record["refresh"]["left_out"] = [one._asdict() for one in answers.refresh.left_out]
    return shown(json.dumps(record, indent=2, ensure_ascii=False), json=True)


def _clipped(line: str) -> str:
    line = shown(line.replace("\t", " "))
    return line if len(line) <= WIDEST else f"{line[: WIDEST - 1]}…"
