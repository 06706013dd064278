"""LeetCode: the statement of a problem → its solution in Python, from doocs/leetcode."""

import html
import re

from codequarry.data.eval_set import EvalSet
from codequarry.data.sources.eval_readers.from_pairs import set_of_pairs
from codequarry.data.sources.schema import Files

_SHORTEST, _LONGEST = 80, 3000  # characters of a solution
_FOLDER = re.compile(r"/solution/[^/]+/(\d+)\.[^/]+/(README_EN\.md|Solution\.py)$")
_STATEMENT = re.compile(r"<!-- description:start -->(.*?)<!-- description:end -->", re.S)
_TAG = re.compile(r"</?[a-zA-Z][^>]*>")


def read_leetcode_p2s(files: Files) -> EvalSet:
    """Every problem's solution is a document; a held-out problem's statement is a query."""
    statements: dict[int, str] = {}
    solutions: dict[int, str] = {}
    for path, content in files:
        found = _FOLDER.search(path)
        if not found:
            continue
        number, text = int(found[1]), content.decode("utf-8", "replace").replace("\r\n", "\n")
        if found[2] == "Solution.py":
            if _SHORTEST <= len(text) <= _LONGEST:
                solutions[number] = text.strip()
        elif is_held_out_problem(number) and (statement := plain_statement(text)):
            statements[number] = statement
    ordered = sorted(solutions)
    pairs = ((statements[number], solutions[number], "python") for number in ordered if number in statements)
    return set_of_pairs("leetcode_p2s", "nl2code", pairs, documents=(solutions[number] for number in ordered))


def is_held_out_problem(number: int) -> bool:
    """Whether a problem is evaluated on, told by its number; no solution of it may be trained on."""
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
