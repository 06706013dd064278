"""The completion set: the first half of a Python function → its second half, from five pinned packages.

What competes for an answer are the second halves of the other functions of the same files: they share
names, imports and style, so a model that only recognises the file gains nothing.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePosixPath

from codequarry.data.catalog.schema import Distribution, EvalSource, Files
from codequarry.data.eval_set import EvalSet, set_of_pairs
from codequarry.data.parsing.definitions import unix_lines

_QUERIES = 1000
_SHORTEST = 12  # lines of a function, without its docstring
# Tests repeat each other, and what a tool wrote repeats itself.
_SKIPPED = frozenset({"tests", "testing", "docs", "doc", "examples", "benchmarks", "bench", "bin", "_antlr"})


@dataclass(frozen=True, slots=True)
class _Function:
    """A function of a file, cut in two."""

    path: str
    head: str
    tail: str

    @property
    def rank(self) -> bytes:
        """Its place among all functions: random, but the same on every machine."""
        return hashlib.sha256(f"{self.path}\n{self.head}".encode()).digest()


def read_completion_py(files: Files) -> EvalSet:
    """1,000 functions drawn evenly from the packages; the documents: their second halves, then distractors.

    Functions with the same second half share one document, and a first half with two continuations has two
    right answers.
    """
    by_file = {path: list(_functions(path, content)) for path, content in files}
    by_package: dict[str, list[_Function]] = defaultdict(list)
    for function in sorted(chain.from_iterable(by_file.values()), key=lambda one: one.rank):
        by_package[function.path.partition("/")[0]].append(function)
    drawn = draw_evenly(by_package, _QUERIES)
    heads = {function.head for function in drawn}
    # A first half that occurs twice has all its continuations for right answers, drawn or not.
    pairs = [one for functions in by_file.values() for one in functions if one.head in heads]
    chosen_files = dict.fromkeys(function.path for function in pairs)
    others = [one.tail for path in chosen_files for one in by_file[path] if one.head not in heads]
    return set_of_pairs(
        "completion_py",
        "code2completion",
        [(one.head, one.tail, "python") for one in pairs],
        documents=[*(one.tail for one in pairs), *others],
    )


def draw_evenly(groups: Mapping[str, Sequence[_Function]], wanted: int) -> list[_Function]:
    """The first functions of every group, as evenly as the groups reach: a small one gives all it has.

    A first half that was drawn already does not count again.
    """
    drawn: dict[str, _Function] = {}
    for place, name in enumerate(sorted(groups, key=lambda name: (len(groups[name]), name))):
        share = (wanted - len(drawn)) // (len(groups) - place)
        full = len(drawn) + share
        for function in groups[name]:
            if len(drawn) == full:
                break
            drawn.setdefault(function.head, function)
    return list(drawn.values())


def _functions(path: str, content: bytes) -> Iterator[_Function]:
    from codequarry.data.parsing.parse import cut_in_two, parse_source  # every verb loads this table of sets

    parts = PurePosixPath(path).parts
    if not path.endswith(".py") or _SKIPPED & set(parts[1:-1]):
        return
    for definition in parse_source(path, unix_lines(content.decode("utf-8", "replace"))):
        code = definition.bare_code
        if definition.kind == "class" or code.count("\n") + 1 < _SHORTEST:
            continue
        if (halves := cut_in_two(code, "python")) is not None:
            yield _Function(path, *halves)


_PACKAGES = (
    Distribution("flask", "3.1.3", "0ef0e52b8a9cd932855379197dd8f94047b359ca0a78695144304cb45f87c9eb"),
    Distribution("httpx", "0.28.1", "75e98c5f16b0f35b567856f597f06ff2270a374470a5c2392242528e3e3e42fc"),
    Distribution("attrs", "26.1.0", "d03ceb89cb322a8fd706d4fb91940737b6642aa36998fe130a9bc96c985eff32"),
    Distribution("networkx", "3.6.1", "26b7c357accc0c8cde558ad486283728b65b6a95d85ee1cd66bafab4c8168509"),
    Distribution("sympy", "1.14.0", "d3d3fe8df1e5a0b42f0e7bdf50541697dbe7d23746e894990c030e2b05e72517"),
)

EVAL_SOURCES: tuple[EvalSource, ...] = (
    EvalSource(
        name="completion_py",
        task="code2completion",
        where=_PACKAGES,
        licence="BSD-3-Clause",
        languages=("python",),
        read=read_completion_py,
        mirrors="CodeSearchNetCCRetrieval",
        faithful="The same shape, second half by first half, but one language, and the other functions of "
        "the same files are the competitors: do not compare scores.",
        queries=1000,
        documents=4437,
    ),
)
