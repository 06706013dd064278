"""Descriptions and the code that does what they say: problems, comments of functions, pages of snippets."""

import gzip
import json
import random
import re
from collections.abc import Iterator
from typing import Any

from codequarry.data.catalog.datasets import CODEXGLUE, FRONT_MATTER
from codequarry.data.catalog.schema import EvalSource, Files, Git, TrainSource
from codequarry.data.eval_set import EvalSet, set_of_pairs
from codequarry.data.pair import Pair

_DOCSTRING = re.compile(r'"""(.*?)"""|\'\'\'(.*?)\'\'\'', re.DOTALL)
_EXAMPLES = re.compile(r">>>|\b(?:for )?examples?\b|\be\.g\.|==>|➞|^\s*\[input", re.IGNORECASE | re.MULTILINE)


def read_human_eval(files: Files) -> EvalSet:
    """HumanEval: the docstring of the function up to its examples, in one line → the body that solves it."""
    rows = json_lines((path, gzip.decompress(content)) for path, content in files)
    pairs = ((_task_in(row["prompt"]), row["canonical_solution"].strip(), "python") for row in rows)
    return set_of_pairs("humaneval", "nl2code", pairs)


def _task_in(prompt: str) -> str:
    double, single = _DOCSTRING.findall(prompt)[-1]  # a helper's docstring may come first
    return " ".join(_EXAMPLES.split(double or single)[0].split())


def read_mbpp(files: Files) -> EvalSet:
    """MBPP: `text` → `code`; the code keeps its carriage returns, as MTEB's documents do."""
    pairs = ((row["text"].strip(), row["code"].strip(), "python") for row in json_lines(files))
    return set_of_pairs("mbpp", "nl2code", pairs)


def read_ds1000(files: Files) -> EvalSet:
    """DS-1000: the prompt without its first word → the reference solution."""
    rows = ((row["prompt"].removeprefix("Problem:"), row["reference_code"]) for row in json_lines(files))
    return set_of_pairs("ds1000", "nl2code", ((one.strip(), two.strip(), "python") for one, two in rows))


_QUERIES = 2000

# A prompt says in a comment what the code should do: with it, the query would hold its answer.
_COMMENTS = (r'(?s)""".*?"""', r"(?s)/\*.*?\*/", r"(?m)^\s*(?:///|#).*$")


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
        prompt = re.sub(comment, "", prompt)
    return (prompt + solution).strip()


_CLOZE_LANGUAGES = ("python", "java", "php", "javascript", "go", "ruby")


def read_codesearchnet_real(files: Files) -> EvalSet:
    """CodeSearchNet (Husain et al., 2019): comment → function, tokens with a space between them.

    The source, CodeXGLUE's cloze test, masks one word, `max` or `min`, and does not hold the answers: the
    mask is filled by what the comment speaks of. A wrong guess changes one word.
    """
    by_language = {path.split("/")[-2]: content for path, content in files}
    pairs = []
    for language in _CLOZE_LANGUAGES:
        for row in json.loads(by_language.get(language, b"[]")):
            comment = " ".join(row["nl_tokens"]).strip()
            words = comment.lower()
            masked = "min" if "min" in words and "max" not in words else "max"
            code = " ".join(row["pl_tokens"]).replace("<mask>", masked)
            code = re.sub(r" ?\n ?", "\n", code).strip()  # Go's line ends are tokens as well
            pairs.append((comment, code, language))
    return set_of_pairs("codesearchnet_real", "nl2code", pairs)


_FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
_FEWEST_WORDS = 4  # of a CONCODE comment: "getter for percentage" describes no code
_FEWEST_CHARACTERS = 30  # of a CONCODE method: an empty body is shorter


def read_concode(files: Files) -> Iterator[Pair]:
    """CONCODE: a method's comment, without the class around it, → its tokens; nothing trivial."""
    for entry in json_lines(files):
        comment, code = entry["nl"].partition("concode_field_sep")[0].strip(), entry["code"].strip()
        if len(comment.split()) >= _FEWEST_WORDS and len(code) > _FEWEST_CHARACTERS:
            yield Pair("nl2code", comment, code, "concode", "java")


def read_thirty_seconds(files: Files) -> Iterator[Pair]:
    """30 seconds of code: the first sentence of a snippet's page → its code."""
    for _, content in files:
        page = FRONT_MATTER.sub("", content.decode(), count=1).strip()
        code = _FENCE.search(page)
        sentence = re.split(r"\.(?:\s|$)|\n\n", page, maxsplit=1)[0]
        sentence = re.sub(r"[`*]", "", " ".join(sentence.split())).strip()
        if code and sentence:
            yield Pair("nl2code", sentence, code[2].strip(), "snippets30", "javascript")


def json_lines(files: Files) -> Iterator[dict[str, Any]]:
    """Every object of JSON Lines files, file by file."""
    for _, content in files:
        # Not splitlines(): a string may hold characters that it takes for the end of a line.
        for line in content.split(b"\n"):
            if line.strip():
                yield json.loads(line)


_MBXP = ("cpp", "csharp", "java", "javascript", "kotlin", "php", "python", "ruby", "typescript")
_SNIPPETS = ("30-seconds/30-seconds-of-code", "c16c7cb135c77fc11c88fe6772a39db34d0d98ad")
_HUMAN_EVAL = ("openai/human-eval", "6d43fb980f9fee3c892a914eda09951f772ad10d")
_DEEPSEEK = ("deepseek-ai/DeepSeek-Coder", "2f9fd85927c669dae3c0fbb2d607274023af243e")
_DS1000 = ("yassine-turin/ds1000-codegen-eval", "1eea362fa5eb7bc862eb6022e53df3a9d391ac2b")
_MXEVAL = ("amazon-science/mxeval", "e09974f990eeaf0c0e8f2b5eaff4be66effb2c86")

TRAIN_SOURCES: tuple[TrainSource, ...] = (
    TrainSource(
        name="concode",
        tasks=("nl2code",),
        where=(Git(*CODEXGLUE, ("/Text-Code/text-to-code/dataset/concode/dev.json",)),),
        licence="C-UDA-1.0",
        languages=("java",),
        read=read_concode,
        size=1_879,
        note="CONCODE, Iyer et al. 2018, its development split, as tokens. CodeXGLUE's code is MIT; its "
        "data licence permits computational use, commercial too. Every pair of our first data, and four "
        "more.",
    ),
    TrainSource(
        name="snippets30",
        tasks=("nl2code",),
        where=(Git(*_SNIPPETS, ("/snippets/*.md",)),),
        licence="CC0-1.0",
        languages=("javascript",),
        read=read_thirty_seconds,
        size=536,
        note="As of 2021; later versions are articles, and CC-BY-4.0.",
    ),
)

EVAL_SOURCES: tuple[EvalSource, ...] = (
    EvalSource(
        name="humaneval",
        task="nl2code",
        where=(Git(*_HUMAN_EVAL, ("/data/HumanEval.jsonl.gz",)),),
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
        where=(Git(*_DEEPSEEK, ("/Evaluation/MBPP/data/mbpp.jsonl",)),),
        licence="CC-BY-4.0",
        languages=("python",),
        read=read_mbpp,
        mirrors="MBPPRetrieval",
        faithful="The same texts: scores may be compared. MTEB keeps all 974 rows apart; here equal texts "
        "are one, so that a twin is no wrong answer.",
        queries=970,
        documents=972,
    ),
    EvalSource(
        name="ds1000",
        task="nl2code",
        where=(Git(*_DS1000, ("/ds1000_data/data/ds1000.jsonl",)),),
        licence="CC-BY-SA-4.0",
        languages=("python",),
        read=read_ds1000,
        mirrors="DS1000Retrieval",
        faithful="The same problems, but MTEB's documents are longer: do not compare scores.",
        queries=996,
        documents=915,
    ),
    EvalSource(
        name="mbxp_code2nl",
        task="code2nl",
        where=(Git(*_MXEVAL, ("/data/mbxp/*_release_v*.jsonl",)),),
        licence="Apache-2.0",
        languages=_MBXP,
        read=read_mbxp_code2nl,
        faithful="Our own set; MTEB has no task from code to its description.",
        queries=1999,
        documents=1227,
    ),
    EvalSource(
        name="codesearchnet_real",
        task="nl2code",
        where=(Git(*CODEXGLUE, ("/Code-Code/ClozeTesting-maxmin/data/cloze-maxmin/*/clozeTest.json",)),),
        licence="LicenseRef-per-repository",
        languages=_CLOZE_LANGUAGES,
        read=read_codesearchnet_real,
        mirrors="COIRCodeSearchNetRetrieval",
        faithful="Genuine CodeSearchNet pairs, but tokenised, all languages in one corpus, and only "
        "functions that call max or min: do not compare scores.",
        queries=2466,
        documents=2615,
    ),
)
