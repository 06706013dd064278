"""How hits are printed: lines for people, JSON for programs."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict

from codequarry.common.tables import shown
from codequarry.search.hits import Answers, Hit

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


def render_timings(answers: Answers) -> str:
    """One line per stage of a search, in milliseconds, and their sum.

    >>> print(render_timings(answers))
    read      21 ms
    index      0 ms
    …
    """
    rows = [*answers.timings.items(), ("search", sum(answers.timings.values()))]
    return "\n".join(f"{name:<8} {1000 * seconds:6.0f} ms" for name, seconds in rows)
