"""A pair as mining found it: with its place, so that it can be put on one side of a split."""

from dataclasses import dataclass

from codequarry.data.pair import Pair


@dataclass(frozen=True, slots=True)
class FoundPair:
    """A pair and where it was found.

    kind: a name of `KINDS`.
    place: path of the file it belongs to, relative to its tree; of a commit, the file it changes most.
    origins: the whole texts it was cut from, such as the function behind its two halves. Near-duplicates are
        told by these, the first before all.
    pair: the pair itself.
    time: seconds since 1970 of the commit, or of the last change of the file; None where nobody asked.
    """

    kind: str
    place: str
    origins: tuple[str, ...]
    pair: Pair
    time: int | None = None
