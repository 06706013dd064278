"""What a search returns."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from codequarry.data.parsing.source_report import LeftOut
from codequarry.search.chunk import Chunk, Kind

# What ranked a hit: static vectors with BM25; the strong model, of the candidates that these chose; or the
# model's vectors of every chunk.
Stage = Literal["candidates", "rerank", "exhaustive"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer.

    path: relative to the root. start_line, end_line: 1-based, inclusive.
    score: on the scale of a cosine similarity; of `exhaustive` that similarity itself, elsewhere raised or
        lowered by the other ranking's share (`fusion.fuse`). Scores of two stages are not comparable.
    title: `Class.method` or heading path; "" for code outside a definition.
    stage: what ranked it.
    """

    path: str
    start_line: int
    end_line: int
    score: float
    title: str
    text: str
    kind: Kind
    stage: Stage = "exhaustive"


@dataclass(frozen=True, slots=True)
class Refresh:
    """What was done to bring the index up to date before the search.

    files, chunks: how many the checkout has; chunks of the kind that was searched.
    embedded, reused: different texts that the model had to embed for this search, and those of which it had
        the vector already: of the whole kind where all are searched, else of the candidates; of the first
        stage where no other model took part.
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


@dataclass(frozen=True, slots=True)
class Answers:
    """The hits of one query, best first, what the refresh of the index did, and seconds by stage, in order.

    Stages: `read` files that changed, `index` them for the first stage, `load` what the index holds, `rank`,
    wait for the `model`, `embed` candidates or everything, `rerank`.
    """

    query: str
    task: str
    hits: tuple[Hit, ...]
    refresh: Refresh
    timings: Mapping[str, float] = field(default_factory=dict)


def as_hit(chunk: Chunk, score: float, stage: Stage) -> Hit:
    """A chunk as an answer."""
    return Hit(
        chunk.path, chunk.start_line, chunk.end_line, score, chunk.title, chunk.text, chunk.kind, stage
    )


def best_of_each_unit(ranked: Iterable[tuple[Chunk, float, Stage]], top: int) -> Iterator[Hit]:
    """The first `top` chunks of which no better one is a window of the same unit, or shares lines with it."""
    taken: dict[str, list[Chunk]] = {}
    left = top
    for chunk, score, stage in ranked:
        others = taken.setdefault(chunk.path, [])
        if any(_same_unit(chunk, other) for other in others):
            continue
        others.append(chunk)
        yield as_hit(chunk, score, stage)
        left -= 1
        if not left:
            return


def _same_unit(one: Chunk, other: Chunk) -> bool:
    overlap = one.start_line <= other.end_line and other.start_line <= one.end_line
    return overlap or one.unit_line == other.unit_line
