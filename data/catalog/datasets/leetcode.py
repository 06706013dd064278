"""Solutions of LeetCode problems: the same problem in two languages, or by two authors in one."""

import html
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import permutations

from codequarry.data.catalog.datasets import lot, texts
from codequarry.data.catalog.schema import EvalSource, Files, Git, TrainSource
from codequarry.data.eval_set import EvalSet, set_of_pairs
from codequarry.data.pair import Pair

_LANGUAGES = {
    "c": "c", "cpp": "cpp", "cs": "csharp", "go": "go", "java": "java", "js": "javascript", "kt": "kotlin",
    "php": "php", "py": "python", "rb": "ruby", "rs": "rust", "scala": "scala", "swift": "swift",
    "ts": "typescript",
}  # fmt: skip
_FOLDER = re.compile(r"/(\d{4})\.([^/]+)/Solution\.(\w+)$")
_TIME = re.compile(r"^(?://|#)\s*Time:.*$", re.MULTILINE)
_REMARK = re.compile(r"(?://|#).*")
_SHORTEST, _LONGEST = 45, 3_000  # characters of a solution
_PAIRS = 6  # of one author's solutions, per problem
_ACROSS = 2  # pairs in two languages of two authors, per problem


def read_leetcode(files: Files) -> Iterator[Pair]:
    """Pairs of solutions of one problem, of every problem that is not evaluated on.

    Of doocs/leetcode six ordered pairs of languages per problem. Where kamyu104/LeetCode-Solutions has the
    problem too: Python → Python and C++ → C++ by the two authors, and two pairs across languages. Which,
    is decided by lot.
    """
    ours: defaultdict[tuple[int, str], dict[str, str]] = defaultdict(dict)
    theirs: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for path, text in texts(files):
        code = text.strip()
        if found := _FOLDER.search(path):
            number, language = int(found[1]), _LANGUAGES.get(found[3])
            if language and not is_held_out_problem(number) and _SHORTEST <= len(code) <= _LONGEST:
                ours[number, _slug(found[2])][language] = code
        elif path.startswith("kamyu104/"):
            code, name = _first_solution(code), path.rpartition("/")[2]
            if _SHORTEST <= len(code) <= _LONGEST:
                slug, _, suffix = name.rpartition(".")
                theirs[slug][_LANGUAGES[suffix]] = code
    for (_, slug), mine in sorted(ours.items()):
        chosen = sorted(permutations(sorted(mine), 2), key=lambda pair: lot(slug, *pair))[:_PAIRS]
        for source, target in sorted(chosen):
            yield _pair(mine[source], mine[target], source, target)
        other = theirs.get(slug, {})
        across = [(source, target) for source in sorted(mine) for target in sorted(other) if source != target]
        same = [(language, language) for language in sorted(mine) if language in other]
        for source, target in same + sorted(across, key=lambda pair: lot(slug, *pair, "across"))[:_ACROSS]:
            if mine[source] != other[target]:
                yield _pair(mine[source], other[target], source, target)


def _first_solution(code: str) -> str:
    """The first of the solutions of a file, each below a line `Time: …`."""
    parts = _TIME.split(code)
    lines = (parts[1] if len(parts) > 1 else parts[0]).strip().split("\n")
    while lines and (_REMARK.fullmatch(lines[0]) or not lines[0].strip()):
        lines.pop(0)
    while lines and (_REMARK.fullmatch(lines[-1]) or not lines[-1].strip()):
        lines.pop()
    return "\n".join(lines)


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower().replace("'", "")).strip("-")


def _pair(query: str, document: str, source: str, target: str) -> Pair:
    return Pair("code2code", query, document, "leetcode_code2code", f"{source}-{target}")


_SHORTEST_SOLUTION, _LONGEST_SOLUTION = 80, 3000  # characters of a solution
_SOLUTION_PATH = re.compile(r"/solution/[^/]+/(\d+)\.[^/]+/(README_EN\.md|Solution\.py)$")
_STATEMENT = re.compile(r"<!-- description:start -->(.*?)<!-- description:end -->", re.S)
_TAG = re.compile(r"</?[a-zA-Z][^>]*>")


def read_leetcode_p2s(files: Files) -> EvalSet:
    """Every problem's solution is a document; a held-out problem's statement is a query."""
    statements: dict[int, str] = {}
    solutions: dict[int, str] = {}
    for path, text in texts(files):
        found = _SOLUTION_PATH.search(path)
        if not found:
            continue
        number = int(found[1])
        if found[2] == "Solution.py":
            if _SHORTEST_SOLUTION <= len(text) <= _LONGEST_SOLUTION:
                solutions[number] = text.strip()
        elif is_held_out_problem(number) and (statement := plain_statement(text)):
            statements[number] = statement
    ordered = sorted(solutions)
    pairs = ((statements[number], solutions[number], "python") for number in ordered if number in statements)
    return set_of_pairs("leetcode_p2s", "nl2code", pairs, documents=(solutions[number] for number in ordered))


def is_held_out_problem(number: int) -> bool:
    """Whether a problem is evaluated on, by its number; no solution of it may be trained on."""
    return number >= 3200 or number % 10 == 7


def plain_statement(readme: str) -> str:
    """The problem statement of a page of doocs/leetcode as plain text, "" where it has none.

    >>> plain_statement("<!-- description:start --><p>2<sup>31</sup> &lt; n</p><!-- description:end -->")
    '2^31 < n'
    """
    found = _STATEMENT.search(readme)
    if not found:
        return ""
    text = html.unescape(_TAG.sub("", found[1].replace("<sup>", "^"))).replace("\xa0", " ")
    return re.sub(r"\n\s*\n+", "\n", re.sub(r"[ \t]+", " ", text)).strip()


_KAMYU104 = ("kamyu104/LeetCode-Solutions", "a42318b19416b86d301d01db278172da59490a69")
_DOOCS = ("doocs/leetcode", "b6ee4f59f28bcf325b7ec535d0a0e12b409e70f4")

TRAIN_SOURCES: tuple[TrainSource, ...] = (
    TrainSource(
        name="leetcode_code2code",
        tasks=("code2code",),
        where=(Git(*_DOOCS, ("/solution/*/*/Solution.*",)), Git(*_KAMYU104, ("/Python/*.py", "/C++/*.cpp"))),
        licence="CC-BY-SA-4.0",
        languages=("c", "cpp", "csharp", "go", "java", "javascript", "php", "python", "rust", "typescript"),
        read=read_leetcode,
        size=24_906,
        note="doocs/leetcode is CC-BY-SA-4.0, kamyu104/LeetCode-Solutions MIT. Solutions only, without the "
        "problems evaluated on. Differs from our first data in which pairs of languages the lot takes.",
    ),
)

EVAL_SOURCES: tuple[EvalSource, ...] = (
    EvalSource(
        name="leetcode_p2s",
        task="nl2code",
        where=(Git(*_DOOCS, ("/solution/*/*/README_EN.md", "/solution/*/*/Solution.py")),),
        licence="LicenseRef-LeetCode",
        languages=("python",),
        read=read_leetcode_p2s,
        mirrors="AppsRetrieval",
        faithful="The same shape, long statement to Python solution, other problems: do not compare scores.",
        queries=916,
        documents=3447,
    ),
)
