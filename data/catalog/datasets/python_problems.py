"""Four sets of short Python problems: a description, and the code that does it."""

import gzip
import json
import random
import re
from collections.abc import Iterable, Iterator
from typing import Any

from codequarry.data.catalog.schema import EvalSource, Files, Git
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


_MBXP = ("cpp", "csharp", "java", "javascript", "kotlin", "php", "python", "ruby", "typescript")

EVAL_SOURCES: tuple[EvalSource, ...] = (
    EvalSource(
        name="humaneval",
        task="nl2code",
        where=(
            Git(
                "openai/human-eval",
                "6d43fb980f9fee3c892a914eda09951f772ad10d",
                ("/data/HumanEval.jsonl.gz",),
            ),
        ),
        licence="MIT",
        languages=("python",),
        read=read_human_eval,
        mirrors="HumanEvalRetrieval",
        faithful="The same problems; MTEB's queries hold the examples too: compare with care.",
        queries=164,
        documents=164,
    ),
    EvalSource(
        name="mbpp",
        task="nl2code",
        where=(
            Git(
                "deepseek-ai/DeepSeek-Coder",
                "2f9fd85927c669dae3c0fbb2d607274023af243e",
                ("/Evaluation/MBPP/data/mbpp.jsonl",),
            ),
        ),
        licence="CC-BY-4.0",
        languages=("python",),
        read=read_mbpp,
        mirrors="MBPPRetrieval",
        faithful=(
            "The same texts: scores may be compared. MTEB keeps all 974 rows apart; here equal texts are "
            "one, so that a twin is no wrong answer."
        ),
        queries=970,
        documents=972,
    ),
    EvalSource(
        name="ds1000",
        task="nl2code",
        where=(
            Git(
                "yassine-turin/ds1000-codegen-eval",
                "1eea362fa5eb7bc862eb6022e53df3a9d391ac2b",
                ("/ds1000_data/data/ds1000.jsonl",),
            ),
        ),
        licence="CC-BY-SA-4.0",
        languages=("python",),
        read=read_ds1000,
        mirrors="DS1000Retrieval",
        faithful="The same problems, but MTEB's documents are longer: do not compare scores.",
        queries=996,
        documents=915,
    ),
    EvalSource(
        name="conala",
        task="nl2code",
        where=(
            Git(
                "shilliscmu/TranxConalaBaseline",
                "5520285387d946e826f4cc5a4a0a1bf7361355e5",
                ("/conala-test.json",),
            ),
        ),
        licence="CC-BY-SA-4.0",
        languages=("python",),
        read=read_conala,
        faithful="Our own retrieval set, from CoNaLa's test split; MTEB has none.",
        queries=472,
        documents=490,
    ),
    EvalSource(
        name="mbxp_code2nl",
        task="code2nl",
        where=(
            Git(
                "amazon-science/mxeval",
                "e09974f990eeaf0c0e8f2b5eaff4be66effb2c86",
                ("/data/mbxp/*_release_v*.jsonl",),
            ),
        ),
        licence="Apache-2.0",
        languages=_MBXP,
        read=read_mbxp_code2nl,
        faithful="Our own set; MTEB has no task from code to its description.",
        queries=1999,
        documents=1227,
    ),
)
