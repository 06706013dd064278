"""The kinds of pairs that mining makes: what each puts together, and which task it trains."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar

from codequarry.common.errors import UserError, did_you_mean
from codequarry.data.pair import Pair


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of pair.

    name: as commands, summaries and files spell it.
    task: one of the five of `codequarry.modules.tasks`.
    query, document: what each side holds, in plain words.
    """

    name: str
    task: str
    query: str
    document: str


_ROWS = (
    Kind("docstring", "nl2code", "first paragraph of a docstring or comment", "the function without it"),
    Kind("comment", "code2nl", "a function without its docstring", "the docstring's first paragraph"),
    Kind("completion", "code2completion", "first half of a function of 12 lines or more", "its second half"),
    Kind("signature", "code2completion", "a function's signature and docstring", "its body"),
    Kind("test", "code2code", "a test", "the one function that it exercises, by name and by call"),
    Kind("commit", "nl2code", "a commit's message, first paragraph", "its diff, one to four source files"),
)

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _ROWS})


def checked_kinds(names: Sequence[str]) -> tuple[str, ...]:
    """The names in the table's order, each once.

    Raises UserError for another name, with the nearest right one, and for no name at all.
    """
    for name in names:
        if name not in KINDS:
            hint = did_you_mean(name, KINDS)
            raise UserError(f"{name!r} is not a kind of pair.{hint} The kinds are {', '.join(KINDS)}.")
    if not names:
        raise UserError(f"No kind of pair was named: pass some of {', '.join(KINDS)}.")
    return tuple(name for name in KINDS if name in names)


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason to leave something out: its name in the counts, and what it means in one line."""

    name: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Filter(Reason, Generic[T]):
    """A reason that is found by looking at one thing alone: a comment, a function, a commit."""

    holds: Callable[[T], object]  # true for what is left out


def first_reason(filters: Sequence[Filter[T]], thing: T) -> str | None:
    """The name of the first filter that leaves the thing out; None when it may stay."""
    return next((row.name for row in filters if row.holds(thing)), None)


@dataclass(frozen=True, slots=True)
class MinedPair:
    """A pair and where it was found.

    kind: a name of `KINDS`.
    place: path of the file it belongs to, relative to its tree; of a commit, the file it changes most.
    origins: the whole texts it was cut from, such as the function of its two halves. Near-duplicates are
        found by these, the first above all.
    pair: the pair itself.
    time: seconds since 1970 of the commit, or of the last change of the file; None where it was not needed.
    """

    kind: str
    place: str
    origins: tuple[str, ...]
    pair: Pair
    time: int | None = None
