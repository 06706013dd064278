"""What a search gives back, and how it is shown."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from codequarry.search.kinds import Kind

WIDEST = 80  # characters of a first line that are shown

# A comment, decorator, bracket or __future__ import says less about a piece of code than the next line.
_SAYS_LITTLE = re.compile(
    r"""(from\s__future__\s|\#(\s|!|$)|\#!?\[|//|/\*|\*(\s|/|$)|--\s|<!--|\"\"\"|'''|@[\w.]+(\(.*)?$|\W*$)""",
    re.VERBOSE,
)


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
    skipped: files passed over, by reason.
    seconds: for all of it.
    """

    files: int
    chunks: int
    embedded: int
    reused: int
    skipped: Mapping[str, int]
    seconds: float


@dataclass(frozen=True, slots=True)
class Answers:
    """The hits of one query, best first, and what the refresh of the index did."""

    query: str
    task: str
    hits: tuple[Hit, ...]
    refresh: Refresh


def first_line(hit: Hit) -> str:
    """The first line of a hit that says something: not blank, a decorator, a bracket or only a comment.

    A signature that opens with a bare `def f(` goes on with the lines below it.
    """
    lines = [line.strip() for line in hit.text.split("\n") if line.strip()]
    if hit.kind != "code":
        return lines[0]
    start = next((number for number, line in enumerate(lines) if not _SAYS_LITTLE.match(line)), 0)
    first, *rest = lines[start:]
    while rest and first.endswith(("(", ",")) and len(first) < WIDEST:
        first += " " * first.endswith(",") + rest.pop(0)
    return first


def render(hits: Sequence[Hit]) -> str:
    """One line a hit, aligned: place, score, first line.

    >>> print(render(answers.hits))
    cache/lru.py:14-31   0.612  def evict(self) -> None:
    cache/clock.py:3-9   0.547  class Clock:
    """
    places = [f"{hit.path}:{hit.start_line}-{hit.end_line}" for hit in hits]
    width = max(map(len, places), default=0)
    return "\n".join(
        f"{place:<{width}}  {hit.score:6.3f}  {_clipped(first_line(hit))}"
        for place, hit in zip(places, hits, strict=True)
    )


def as_json(answers: Answers) -> str:
    """The same as JSON: query, task, hits with their whole text, and the refresh."""
    return json.dumps(asdict(answers), indent=2, ensure_ascii=False)


def _clipped(line: str) -> str:
    return line if len(line) <= WIDEST else f"{line[: WIDEST - 1]}…"
