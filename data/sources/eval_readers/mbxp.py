"""MBXP: a function in one of nine languages → what it was asked to do (Athiwaratkun et al., ICLR 2023).

The code was written by a model, and checked by running it. Four of the thirteen languages come without
solutions and are left out.
"""

import random
import re

from codequarry.data.eval_set import EvalSet
from codequarry.data.sources.eval_readers.from_pairs import set_of_pairs
from codequarry.data.sources.eval_readers.python_problems import json_lines
from codequarry.data.sources.schema import Files

_QUERIES = 2000
# A prompt says in a comment what the code should do: with it, the query would hold its answer.
_COMMENTS = (
    re.compile(r'"""[\s\S]*?"""'),
    re.compile(r"/\*[\s\S]*?\*/"),
    re.compile(r"^\s*(?:///|#).*$", re.M),
)


def read_mbxp_code2nl(files: Files) -> EvalSet:
    """2,000 problems drawn from all nine languages, the code without the comment of its prompt."""
    pairs = dict.fromkeys(
        (_code(row["prompt"], row["canonical_solution"]), row["description"].strip(), row["language"])
        for row in json_lines(sorted(files))
        if row.get("canonical_solution")
    )
    drawn = list(pairs)
    random.Random(0).shuffle(drawn)
    return set_of_pairs("mbxp_code2nl", "code2nl", drawn[:_QUERIES])


def _code(prompt: str, solution: str) -> str:
    prompt = prompt.strip()
    for comment in _COMMENTS:
        prompt = comment.sub("", prompt)
    return (prompt + solution).strip()
