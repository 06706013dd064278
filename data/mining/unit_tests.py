"""Pairs of a test and the one function it exercises, found by its name and by a call of that name.

`test_parse_date`, `TestParseDate` or `shouldParse` in `DateParserTest` are tests of `parse_date`, `ParseDate`
and `DateParser.parse` when they call them and when the tree has exactly one such function.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from codequarry.data.mining.filters import CODE_FILTERS
from codequarry.data.mining.schema import KINDS, MinedPair, Reason, first_reason
from codequarry.data.pair import Pair
from codequarry.data.parsing.parse import SourceFile

MAX_TESTS = 5  # of one function; more say little that is new
NO_SUBJECT = Reason("test: exercises no one function", "no name it calls is in its own name and in the tree")
MANY_TESTS = Reason(f"test: over {MAX_TESTS} of one function", "the others are kept")
TEST_REASONS = (NO_SUBJECT, MANY_TESTS)


@dataclass(frozen=True, slots=True)
class _Marks:
    """How tests look in one language: the name of a test, or an attribute in the lines before it."""

    name: re.Pattern[str]
    attribute: re.Pattern[str] = re.compile(r"(?!)")


_MARKS = {
    "python": _Marks(re.compile(r"test_?\w")),
    "go": _Marks(re.compile(r"Test[A-Z_]")),
    "ruby": _Marks(re.compile(r"test_\w")),
    "php": _Marks(re.compile(r"test\w"), re.compile(r"#\[Test\]")),
    "java": _Marks(re.compile(r"test[A-Z_]"), re.compile(r"@(Parameterized)?Test\b")),
    "csharp": _Marks(re.compile(r"(?!)"), re.compile(r"\[(Test|Fact|Theory|TestMethod|TestCase)\b")),
    "rust": _Marks(re.compile(r"(?!)"), re.compile(r"#\[(\w+::)?test\b")),
    "c": _Marks(re.compile(r"[tT]est_?\w")),
    "cpp": _Marks(re.compile(r"[tT]est_?\w")),
}
_TEST_PLACE = re.compile(
    r"(^|/)(tests?|specs?|testing|__tests__|[\w.]+\.tests?|unittests?)/|(^|/)(test_[^/]*|tests?\.\w+)$"
    r"|(_tests?|_spec|Tests?|TestCase|Spec)\.\w+$",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_AROUND = frozenset({"test", "tests", "testing", "case", "spec", "should"})
# A constructor, `create…` or `build…` is called to have something to test.
_MAKERS = frozenset({"init", "construct", "create", "build", "new", "make", "setup"})
_CALL = re.compile(r"\b([A-Za-z_]\w*[!?]?)\s*(?:::<[^>]*>)?\(|\.([A-Za-z_]\w*[!?]?)")


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a tree, or a test: path and language of its file, its qualified name, its code."""

    path: str
    language: str
    name: str
    code: str

    @property
    def own_name(self) -> str:
        """The last part of the qualified name."""
        return self.name.rpartition(".")[2]

    @property
    def owner(self) -> str:
        """The class or module that holds it; "" where there is none."""
        return self.name.rpartition(".")[0].rpartition(".")[2]


def find_tests(source: SourceFile) -> tuple[list[Function], list[Function]]:
    """The tests of a file, and the functions that could be tested."""
    tests: list[Function] = []
    functions: list[Function] = []
    if (marks := _MARKS.get(source.language)) is None:
        return tests, functions
    in_tests = _TEST_PLACE.search(source.path) is not None
    for one in source.definitions:
        if one.kind == "class" or first_reason(CODE_FILTERS, one):
            continue
        found = Function(source.path, source.language, one.name, one.bare_code)
        has_mark = marks.attribute.search(one.bare_code[:400].partition("{")[0])
        if has_mark or (in_tests and marks.name.match(found.own_name)):
            tests.append(found)
        elif not in_tests and {"test", "tests"}.isdisjoint(one.name.split(".")):
            functions.append(found)
    return tests, functions


def pairs_of_tests(
    tests: Sequence[Function], functions: Sequence[Function], name: str, filtered: Counter[str]
) -> Iterator[MinedPair]:
    """A pair for each test whose function is beyond doubt; `filtered` counts the others.

    name: what the pairs' source is called.
    """
    by_name: defaultdict[tuple[str, str], list[Function]] = defaultdict(list)
    by_owner: defaultdict[tuple[str, str], list[Function]] = defaultdict(list)
    for function in functions:
        by_name[function.language, function.own_name].append(function)
        by_owner[function.language, "".join(_words(function.owner))].append(function)
    times: Counter[Function] = Counter()
    for test in tests:
        tested = _tested(test, by_name, by_owner)
        if tested is None:
            filtered[NO_SUBJECT.name] += 1
        elif times[tested] == MAX_TESTS:
            filtered[MANY_TESTS.name] += 1
        else:
            times[tested] += 1
            pair = Pair(KINDS["test"].task, test.code, tested.code, name, test.language)
            yield MinedPair("test", tested.path, (test.code, tested.code), pair)


_Index = defaultdict[tuple[str, str], list[Function]]


def _tested(test: Function, by_name: _Index, by_owner: _Index) -> Function | None:
    """The function in the test's name, the longest name first; else the only called one of its class."""
    subject = "".join(_subject(test))
    said = _without_test(_words(test.own_name))
    called = {name for found in _CALL.findall(test.code) for name in found if name} - {test.own_name}
    known = sorted(name for name in called if by_name.get((test.language, name)))
    for name in sorted(known, key=lambda name: (-len(_words(name)), name)):
        candidates = by_name[test.language, name]
        of_subject = [one for one in candidates if subject and subject in _homes(one)]
        if _tells(said, _words(name), subject, bool(of_subject)):
            best = of_subject or candidates
            return best[0] if len(best) == 1 else None
    if not test.owner or not subject:
        return None
    own = [one for one in by_owner.get((test.language, subject), ()) if one.own_name in called]
    words = [(one, _words(one.own_name)) for one in own]
    own = [one for one, name in words if "".join(name) != subject and _MAKERS.isdisjoint(name[:1])]
    return own[0] if len(own) == 1 else None


def _tells(said: list[str], name: list[str], subject: str, of_subject: bool) -> bool:
    """Whether a test called `said` names the function: a single word must be all of it, or the subject's."""
    if not name or not said:
        return False
    places = [at for at in range(len(said) - len(name) + 1) if said[at : at + len(name)] == name]
    if not places:
        return False
    behind_subject = any("".join(said[:at]) in ("", subject) for at in places)
    return said == name or len(name) > 1 or (behind_subject and of_subject)


def _subject(test: Function) -> list[str]:
    """What is tested, by the name of the test's class, else of its file."""
    owner = _without_test(_words(test.owner))
    return owner or _without_test(_words(PurePosixPath(test.path).stem))


def _homes(function: Function) -> set[str]:
    """What a test class or file of a function would be called after."""
    return {"".join(_words(function.owner)), "".join(_words(PurePosixPath(function.path).stem))}


def _without_test(words: list[str]) -> list[str]:
    while words and words[0] in _AROUND:
        words = words[1:]
    while words and words[-1] in _AROUND:
        words = words[:-1]
    return words


def _words(name: str) -> list[str]:
    """The words of an identifier: `parseDate`, `parse_date` and `ParseDate` have the same."""
    return [word.lower() for word in _WORD.findall(name)]
