"""Where a model's training pairs came from, as the rows of a card's tables: by licence, by source."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codequarry.model_card.card import NOT_MEASURED

Row = Mapping[str, Any]  # of the training data, as in Card

# By their SPDX identifiers: what is derived from the text carries the same licence.
_SHARE_ALIKE = re.compile(r"-SA-|^GFDL-")


def pairs_in(rows: Sequence[Row]) -> int:
    """Pairs of all rows."""
    return sum(int(row["pairs"]) for row in rows)


def by_licence(data: Sequence[Row]) -> list[list[str]]:
    """Licence, sources, pairs, pairs drawn; the licence with most pairs first."""
    groups = _grouped(data, _licence)
    ordered = sorted(groups.items(), key=lambda group: (-pairs_in(group[1]), group[0]))
    return [[name, f"{len({row['source'] for row in rows}):,}", *_sums(rows)] for name, rows in ordered]


def by_source(data: Sequence[Row]) -> list[list[str]]:
    """Source, licence, tasks, pairs, pairs drawn; by name."""
    return [
        [name, _licence(rows[0]), ", ".join(sorted(row["task"] for row in rows)), *_sums(rows)]
        for name, rows in sorted(_grouped(data, lambda row: row["source"]).items())
    ]


def share_alike(data: Sequence[Row]) -> list[str]:
    """The sources whose licence asks for the same licence, each with its name."""
    found = {row["source"]: _licence(row) for row in data if _SHARE_ALIKE.search(_licence(row))}
    return [f"{source} ({spdx})" for source, spdx in sorted(found.items())]


def _licence(row: Row) -> str:
    return row.get("licence") or "not recorded"


def _grouped(data: Sequence[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in data:
        groups.setdefault(key(row), []).append(row)
    return groups


def _sums(rows: Sequence[Row]) -> list[str]:
    drawn: list[int | None] = [row.get("pairs_drawn") for row in rows]
    known = [number for number in drawn if number is not None]
    return [f"{pairs_in(rows):,}", f"{sum(known):,}" if len(known) == len(rows) else NOT_MEASURED]
