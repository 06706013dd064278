"""Four sets of short Python problems: a description, and the code that does it."""

import gzip
import json
import re
from collections.abc import Iterator
from typing import Any

from codequarry.data.eval_set import EvalSet
from codequarry.data.sources.eval_readers.from_pairs import set_of_pairs
from codequarry.data.sources.schema import Files

_DOCSTRING = re.compile(r'"""(.*?)"""|\'\'\'(.*?)\'\'\'', re.DOTALL)
_EXAMPLES = re.compile(r">>>|\b(?:for )?examples?\b|\be\.g\.|==>|➞|^\s*\[input", re.IGNORECASE | re.MULTILINE)


def read_human_eval(files: Files) -> EvalSet:
    """HumanEval: the docstring of the function up to its examples, in one line → the body that solves it."""
    rows = json_lines((path, gzip.decompress(content)) for path, content in files)
    pairs = ((_task_in(row["prompt"]), row["canonical_solution"].strip(), "python") for row in rows)
    return set_of_pairs("humaneval", "nl2code", pairs)


def _task_in(prompt: str) -> str:
    double, single = _DOCSTRING.findall(prompt)[-1]  # a helper's docstring may stand before it
    return " ".join(_EXAMPLES.split(double or single)[0].split())


def read_mbpp(files: Files) -> EvalSet:
    """MBPP: `text` → `code`; the code keeps its carriage returns, as MTEB's documents do."""
    pairs = ((row["text"].strip(), row["code"].strip(), "python") for row in json_lines(files))
    return set_of_pairs("mbpp", "nl2code", pairs)


def read_ds1000(files: Files) -> EvalSet:
    """DS-1000: the prompt without its first word → the reference solution."""
    pairs = (
        (row["prompt"].removeprefix("Problem:").strip(), row["reference_code"].strip(), "python")
        for row in json_lines(files)
    )
    return set_of_pairs("ds1000", "nl2code", pairs)


def read_conala(files: Files) -> EvalSet:
    """CoNaLa's test split: the rewritten intent, or the first one where nobody rewrote it → the snippet."""
    pairs = (
        ((row["rewritten_intent"] or row["intent"]).strip(), row["snippet"].strip(), "python")
        for _, content in files
        for row in json.loads(content)
    )
    return set_of_pairs("conala", "nl2code", pairs)


def json_lines(files: Files) -> Iterator[dict[str, Any]]:
    """Every object of JSON Lines files, file by file."""
    for _, content in files:
        # Not splitlines(): a string may hold characters that it takes for the end of a line.
        for line in content.split(b"\n"):
            if line.strip():
                yield json.loads(line)
