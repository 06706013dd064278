"""Why something is left out of the mined pairs: each reason has a name that is counted, and a meaning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason to leave something out: its name in the counts, and what it means in one line."""

    name: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Filter(Reason, Generic[T]):
    """A reason that is found by looking at one thing alone: a comment, a function, a commit."""

    holds: Callable[[T], bool]


def first_reason(filters: Sequence[Filter[T]], thing: T) -> str | None:
    """The name of the first filter that leaves the thing out; None when it may stay."""
    return next((row.name for row in filters if row.holds(thing)), None)
