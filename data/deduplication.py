"""Texts that nearly repeat another: MinHash finds candidates, their true Jaccard similarity decides.

Two texts are alike when the sets of their three-token runs share at least `threshold` of their union.
MinHash (Broder, "On the resemblance and containment of documents", 1997) keeps 120 numbers of each set; sets
that agree in a whole band of them are compared. A text under 12 tokens has so few runs that one word decides
everything, so it is alike only to a text with the same tokens.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from codequarry.common.errors import UserError
from codequarry.data.pair import Pair

_T = TypeVar("_T")
SHINGLE = 3  # tokens in a run
SHORT = 12  # tokens; texts with fewer are compared as a whole
_PERMUTATIONS = 120
_MISSED = 0.01  # share of pairs exactly at the threshold that no band may catch
_SLACK = 0.15  # four standard deviations of what 120 numbers estimate: nothing alike is skipped unverified
_BATCH = 1 << 16  # shingles permuted at a time: they stay in the processor's cache


def first_alike(texts: Sequence[str], *, threshold: float = 0.8, progress: bool = True) -> list[int | None]:
    """For each text the position of an earlier one that it nearly repeats; None where there is none.

    Only texts that repeat nothing themselves are named, so what is left with None has no two texts that
    nearly repeat each other, and keeping exactly those keeps one of every kind.

    Arguments:
        texts: a blank one is alike to nothing.
        threshold: share of the union of runs that two texts have in common, above 0 to 1.
        progress: show a bar after two seconds.

    Every answer is verified: there are no false ones. Of the pairs exactly at the threshold, under one in a
    hundred are missed, and fewer the more they are alike.

    Raises UserError for a threshold outside its range.

    >>> first_alike(["def add(a, b): return a + b", "DEF add(a, b):\\n    return a + b", "print(1)"])
    [None, 0, None]
    """
    unique = list(dict.fromkeys(text for text in texts if not _is_blank(text)))
    index = _Index(threshold)
    signatures = _signatures(unique, progress)
    keys = index.keys(signatures)
    # Most texts share no band with another: leaving those out saves most of the memory.
    shared = _shared(keys)
    kept: dict[str, str] = {}
    for text, signature, mine, some in _with_bar(
        zip(unique, signatures, keys, shared, strict=True), progress, "comparing texts", len(unique)
    ):
        near = index.find(text, signature, mine[some])
        if near is None:
            index.add(text, signature, mine[some])
        kept[text] = text if near is None else near
    first: dict[str, int] = {}
    return [
        None
        if _is_blank(text) or (earlier := first.setdefault(kept[text], position)) == position
        else earlier
        for position, text in enumerate(texts)
    ]


class Known:
    """Texts that others are compared with; arguments and exactness as in `first_alike`.

    >>> Known(["print(1)", "def add(a, b): return a + b"]).alike(["Def add(a, b): return a + b"])
    [1]
    """

    def __init__(self, against: Sequence[str], *, threshold: float = 0.8, progress: bool = True) -> None:
        self._index = _Index(threshold)
        self._first: dict[str, int] = {}
        for position, text in enumerate(against):
            if not _is_blank(text):
                self._first.setdefault(text, position)
        signatures = _signatures(list(self._first), progress)
        for text, signature, keys in zip(self._first, signatures, self._index.keys(signatures), strict=True):
            self._index.add(text, signature, keys)

    def alike(self, texts: Sequence[str], *, progress: bool = True) -> list[int | None]:
        """For each text the first position of a known one that it nearly repeats; None without one."""
        unique = list(dict.fromkeys(text for text in texts if not _is_blank(text)))
        signatures = _signatures(unique, progress)
        found: dict[str, int] = {}
        for text, signature, keys in zip(unique, signatures, self._index.keys(signatures), strict=True):
            near = self._index.find(text, signature, keys)
            if near is not None:
                found[text] = self._first[near]
        return [found.get(text) for text in texts]


class _Index:
    """Texts that were added, found by texts that share a band of their signature and are truly alike."""

    def __init__(self, threshold: float) -> None:
        if not 0 < threshold <= 1:
            raise UserError(f"threshold is {threshold}: pass a share above 0 and up to 1, such as 0.8.")
        self.threshold = threshold
        self.texts: list[str] = []
        self.signatures: list[NDArray[np.uint32]] = []
        self.buckets: dict[int, list[int]] = {}
        self.runs = lru_cache(maxsize=1 << 14)(lambda text: frozenset(_runs(text).tolist()))

    def keys(self, signatures: NDArray[np.uint32]) -> NDArray[np.uint64]:
        """(texts, bands): a number for what a band holds."""
        bands, rows = _bands(self.threshold)
        factors = np.random.default_rng(rows).integers(1 << 63, size=(bands, rows), dtype=np.uint64)
        parts = signatures.reshape(-1, bands, rows)
        # One column at a time: all of them as 64-bit numbers at once would be twice the signatures' size.
        keys = np.zeros((len(parts), bands), np.uint64)
        for row in range(rows):
            keys += parts[:, :, row] * (factors[:, row] * np.uint64(2) + np.uint64(1))
        return keys

    def add(self, text: str, signature: NDArray[np.uint32], keys: NDArray[np.uint64]) -> None:
        if len(keys):
            for key in keys.tolist():
                self.buckets.setdefault(key, []).append(len(self.texts))
            self.texts.append(text)
            self.signatures.append(signature)

    def find(self, text: str, signature: NDArray[np.uint32], keys: NDArray[np.uint64]) -> str | None:
        """The text added first of those that are alike."""
        near = sorted({other for key in keys.tolist() for other in self.buckets.get(key, ())})
        if not near:
            return None
        agreeing = (np.stack([self.signatures[other] for other in near]) == signature).mean(axis=1)
        for other, agrees in zip(near, agreeing >= self.threshold - _SLACK, strict=True):
            if not agrees:
                continue
            mine, theirs = self.runs(text), self.runs(self.texts[other])
            shared = len(mine & theirs)
            if shared >= self.threshold * (len(mine) + len(theirs) - shared):
                return self.texts[other]
        return None


def _runs(text: str) -> NDArray[np.uint64]:
    words = tokens(text)
    return whole(words) if len(words) < SHORT else shingles(words, SHINGLE)


def _bands(threshold: float) -> tuple[int, int]:
    """How many bands of how many numbers: the longest bands that still catch what is at the threshold."""
    sizes = [rows for rows in range(1, _PERMUTATIONS + 1) if _PERMUTATIONS % rows == 0]
    caught = [rows for rows in sizes if (1 - threshold**rows) ** (_PERMUTATIONS // rows) <= _MISSED]
    rows = max(caught, default=1)
    return _PERMUTATIONS // rows, rows


def _signatures(texts: Sequence[str], progress: bool) -> NDArray[np.uint32]:
    """(texts, 120): for each permutation the lowest number that a text's runs get."""
    random = np.random.default_rng(1997)
    factors = random.integers(1 << 63, size=_PERMUTATIONS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    shifts = random.integers(1 << 63, size=_PERMUTATIONS, dtype=np.uint64)
    signatures = np.zeros((len(texts), _PERMUTATIONS), np.uint32)
    batch: list[NDArray[np.uint64]] = []
    waiting = 0
    for number, text in enumerate(_with_bar(texts, progress, "hashing texts", len(texts))):
        batch.append(_runs(text))
        waiting += len(batch[-1])
        if waiting >= _BATCH or number == len(texts) - 1:
            runs = np.concatenate(batch)
            starts = np.cumsum([0, *map(len, batch[:-1])])
            permuted = np.empty_like(runs)
            for column, (factor, shift) in enumerate(zip(factors, shifts, strict=True)):
                np.multiply(runs, factor, out=permuted)
                permuted += shift
                lowest = np.minimum.reduceat(permuted, starts) >> np.uint64(32)
                signatures[number + 1 - len(batch) : number + 1, column] = lowest
            batch, waiting = [], 0
    return signatures


def _shared(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """(texts, bands): whether another text has the same key."""
    shared = np.zeros(keys.shape, np.bool_)
    for band in range(keys.shape[1]):
        _, place, count = np.unique(keys[:, band], return_inverse=True, return_counts=True)
        shared[:, band] = count[place] > 1
    return shared


def _is_blank(text: str) -> bool:
    return not text or text.isspace()


def _with_bar(items: Iterable[_T], progress: bool, what: str, total: int) -> Iterable[_T]:
    return tqdm(items, desc=what, unit="text", total=total, delay=2, disable=not progress, leave=False)


_TOKEN = re.compile(r"\w+|[^\w\s]")
_FACTOR = 0x9E3779B97F4A7C15  # odd: multiplying by it loses nothing modulo 2^64
_CACHED = 1 << 20  # distinct tokens whose number is remembered, about 200 MB at most


def tokens(text: str) -> list[str]:
    """The words and signs of a text in order, in Unicode's composed form and folded case.

    >>> tokens("def Add(a):")
    ['def', 'add', '(', 'a', ')', ':']
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.casefold())
    return _TOKEN.findall(text.lower())


def shingles(words: Sequence[str], size: int) -> NDArray[np.uint64]:
    """A number for each run of `size` tokens, in order, repeated where the run is; none for fewer tokens."""
    if len(words) < size:
        return np.empty(0, np.uint64)
    numbers = np.fromiter(map(_number, words), np.uint64, len(words))
    runs = numbers[: len(words) - size + 1].copy()
    for shift in range(1, size):
        runs *= np.uint64(_FACTOR)
        runs += numbers[shift : len(words) - size + 1 + shift]
    return _mixed(runs)


def whole(words: Sequence[str]) -> NDArray[np.uint64]:
    """One number for all tokens together."""
    return np.array([_hash("\0".join(words))], np.uint64)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


_number = lru_cache(_CACHED)(_hash)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each number scrambled one to one, so that its high bits depend on all of it."""
    numbers ^= numbers >> np.uint64(32)
    numbers *= np.uint64(0xD6E8FEB86659FD93)
    numbers ^= numbers >> np.uint64(32)
    return numbers


_COMMENT_OR_STRING = re.compile(
    r'(?P<docstring>(?:^|(?<=[\n:]))\s*[rRuU]?(?:"""(?s:.*?)"""|\'\'\'(?s:.*?)\'\'\'))'
    r'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|`[^`\n]*`'
    r"|(?P<comment>/\*(?s:.*?)\*/|<!--(?s:.*?)-->|//[^\n]*|(?<!\S)#[^\n]*|(?<!\S)--[^\n]*)"
)


def normal_form(text: str) -> bytes:
    """16 bytes that two texts share when their words and signs do: spaces, line ends and case are gone.

    >>> normal_form("f( x )") == normal_form("F(x)\\n")
    True
    """
    return blake2b("\0".join(tokens(text)).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def without_comments(code: str) -> str:
    """The text without what is a comment or docstring in any of the usual languages.

    It does not ask for the language, so it takes too much of some (`--all` of a command, `#include`). Both
    copies of a program lose the same, which is all that comparing them needs.
    """
    return _COMMENT_OR_STRING.sub(
        lambda found: " " if found["comment"] or found["docstring"] else found[0], code
    )


EXACT, REPEATED, NEAR = "duplicate", "repeated text", "near-duplicate"


def repeated_pairs(
    pairs: Sequence[Pair], *, max_repeats: int, threshold: float, progress: bool = True
) -> list[tuple[str, int] | None]:
    """For each pair why it repeats earlier ones, with the position of one of them; None to keep it.

    duplicate: query, document and task are those of an earlier pair, spaces and case aside.
    repeated text: its query, or document, is in `max_repeats` kept pairs of this source and
        task already; a heading or a `main` that everything is called says nothing.
    near-duplicate: its query and its document nearly repeat the same two texts as those of an earlier pair
        of this task. A document under different queries, and the other way round, is no repetition.

    Arguments: `threshold` as in `first_alike`.
    """
    found: list[tuple[str, int] | None] = [None] * len(pairs)
    first: dict[tuple[str, bytes, bytes], int] = {}
    counts: Counter[tuple[str, str, str, bytes]] = Counter()
    earlier: dict[tuple[str, str, str, bytes], int] = {}
    for position, pair in enumerate(pairs):
        query, document = normal_form(pair.query), normal_form(pair.document)
        same = first.setdefault((pair.task, query, document), position)
        if same != position:
            found[position] = EXACT, same
            continue
        sides = (pair.source, pair.task, "query", query), (pair.source, pair.task, "document", document)
        full = [side for side in sides if counts[side] >= max_repeats]
        if full:
            found[position] = REPEATED, earlier[full[0]]
            continue
        counts.update(sides)
        for side in sides:
            earlier.setdefault(side, position)
    left = [position for position, reason in enumerate(found) if reason is None]
    roots: list[list[int]] = []
    for texts in ([pairs[p].query for p in left], [pairs[p].document for p in left]):
        near = first_alike(texts, threshold=threshold, progress=progress)
        roots.append([number if other is None else other for number, other in enumerate(near)])
    kept: dict[tuple[str, int, int], int] = {}
    for position, query_root, document_root in zip(left, *roots, strict=True):
        same = kept.setdefault((pairs[position].task, query_root, document_root), position)
        if same != position:
            found[position] = NEAR, same
    return found
