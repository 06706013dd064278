"""Four sets of short Python problems: a description, and the code that does it."""

import gzip
import json
import random
import re
from collections.abc import Iterable, Iterator
from typing import Any

from codequarry.data.catalog.schema import Files
from codequarry.data.eval_set import EvalSet

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


def set_of_pairs(
    name: str, task: str, pairs: Iterable[tuple[str, str, str]], documents: Iterable[str] = ()
) -> EvalSet:
    """The set of these (query, document, language) triples, numbered in the order in which they come.

    Two pairs with the same query make one query with two right answers; two with the same document share it.
    Without this a right answer would count as a wrong one.

    Arguments:
        pairs: the language is "" where the source does not say.
        documents: what is numbered before the documents of the pairs; those that no pair names are
            distractors.
    """
    query_ids: dict[str, str] = {}
    document_ids: dict[str, str] = {}
    relevant: dict[str, dict[str, int]] = {}
    languages: dict[str, str] = {}
    for text in documents:
        document_ids.setdefault(text, f"d{len(document_ids)}")
    for query, document, language in pairs:
        query_id = query_ids.setdefault(query, f"q{len(query_ids)}")
        document_id = document_ids.setdefault(document, f"d{len(document_ids)}")
        relevant.setdefault(query_id, {})[document_id] = 1
        if language:
            languages.setdefault(query_id, language)
    return EvalSet(
        name,
        task,
        {label: text for text, label in query_ids.items()},
        {label: text for text, label in document_ids.items()},
        relevant,
        languages,
    )
