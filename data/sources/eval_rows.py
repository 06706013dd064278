"""The evaluation sets, one row each: task, source, licence, and what its scores may be compared with."""

from collections.abc import Mapping
from types import MappingProxyType

from codequarry.data.sources.completion_set import read_completion_py
from codequarry.data.sources.eval_readers.codesearchnet import read_codesearchnet_real
from codequarry.data.sources.eval_readers.codexglue import read_codexglue_java_cs
from codequarry.data.sources.eval_readers.documentation import read_docs_qa
from codequarry.data.sources.eval_readers.leetcode import read_leetcode_p2s
from codequarry.data.sources.eval_readers.mbxp import read_mbxp_code2nl
from codequarry.data.sources.eval_readers.python_problems import (
    read_conala,
    read_ds1000,
    read_human_eval,
    read_mbpp,
)
from codequarry.data.sources.eval_readers.rosetta import read_rosetta_py_cpp
from codequarry.data.sources.eval_readers.so_codenn import read_so_codenn
from codequarry.data.sources.schema import Distribution, EvalSource, Git

_CODEXGLUE = "ac74a62802a0dd159b3258c78a2df8ad36cdf2b9"
_MBXP = ("cpp", "csharp", "java", "javascript", "kotlin", "php", "python", "ruby", "typescript")

_ROWS = (
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
        name="so_codenn",
        task="nl2code",
        where=(
            Git(
                "sriniiyer/codenn",
                "0f7fbb8b298a84faf4a14a8f76199e39af685e4a",
                tuple(f"/data/stackoverflow/{language}/test.txt" for language in ("csharp", "python", "sql")),
            ),
        ),
        licence="CC-BY-SA-3.0",
        languages=("csharp", "sql", "python"),
        read=read_so_codenn,
        mirrors="StackOverflowQA",
        faithful=(
            "Only the kind of question is the same: titles and short, noisy snippets here, whole posts "
            "there. Do not compare scores."
        ),
        queries=1868,
        documents=1868,
    ),
    EvalSource(
        name="leetcode_p2s",
        task="nl2code",
        where=(
            Git(
                "doocs/leetcode",
                "b6ee4f59f28bcf325b7ec535d0a0e12b409e70f4",
                ("/solution/*/*/README_EN.md", "/solution/*/*/Solution.py"),
            ),
        ),
        licence="LicenseRef-LeetCode",
        languages=("python",),
        read=read_leetcode_p2s,
        mirrors="AppsRetrieval",
        faithful="The same shape, long statement to Python solution, other problems: do not compare scores.",
        queries=916,
        documents=3447,
    ),
    EvalSource(
        name="codesearchnet_real",
        task="nl2code",
        where=(
            Git(
                "microsoft/CodeXGLUE",
                _CODEXGLUE,
                ("/Code-Code/ClozeTesting-maxmin/data/cloze-maxmin/*/clozeTest.json",),
            ),
        ),
        licence="LicenseRef-per-repository",
        languages=("python", "java", "php", "javascript", "go", "ruby"),
        read=read_codesearchnet_real,
        mirrors="COIRCodeSearchNetRetrieval",
        faithful=(
            "Genuine CodeSearchNet pairs, but tokenised, all languages in one corpus, and only functions "
            "that call max or min: do not compare scores."
        ),
        queries=2466,
        documents=2615,
    ),
    EvalSource(
        name="rosetta_py_cpp",
        task="code2code",
        where=(
            Git(
                "bgloyer/RosettaCodeData",
                "88f62ba8313782006d9684f95b4174011802f640",
                ("/Task/*/C++/*", "/Task/*/Python/*"),
            ),
        ),
        licence="GFDL-1.2-or-later",
        languages=("python", "cpp"),
        read=read_rosetta_py_cpp,
        mirrors="CodeTransOceanContest",
        faithful="The same shape, Python to C++ of one task, from the same site: do not compare scores.",
        queries=195,
        documents=526,
    ),
    EvalSource(
        name="codexglue_java_cs",
        task="code2code",
        where=(
            Git(
                "microsoft/CodeXGLUE",
                _CODEXGLUE,
                (
                    "/Code-Code/code-to-code-trans/data/test.java-cs.txt.java",
                    "/Code-Code/code-to-code-trans/data/test.java-cs.txt.cs",
                ),
            ),
        ),
        licence="MIT",
        languages=("java", "csharp"),
        read=read_codexglue_java_cs,
        faithful="Our own retrieval set; saturated, so it is a sanity check and left out of means.",
        in_mean=False,
        queries=997,
        documents=995,
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
    EvalSource(
        name="docs_qa",
        task="qa",
        where=(
            Git(
                "vuejs/docs",
                "01e098a967951ea92d09b100b8e7d82c7a3369a2",
                ("/src/**/*.md", "!releases.md"),
            ),
            Git(
                "MicrosoftDocs/WSL",
                "8842def77a852af26318b9ebec78063a94b068ed",
                ("/WSL/**/*.md", "!*release-notes.md"),
            ),
            Git(
                "microsoft/TypeScript-Website",
                "1f8e642574ce992bfd573a96b5e3de43d8ac044a",
                ("/packages/documentation/copy/en/**/*.md", "!**/release-notes/*.md"),
            ),
            Git("rust-lang/book", "917544888a55e4da7109bdba8c88c893c0da70f4", ("/src/**/*.md",)),
            Git("rust-lang/rust-by-example", "898f0ac1479223d332309e0fce88d44b39927d28", ("/src/**/*.md",)),
        ),
        licence="CC-BY-4.0",
        languages=(),
        read=read_docs_qa,
        faithful="Our own set; MTEB's CodeFeedback tasks hold answers that a model wrote.",
        queries=2069,
        documents=2085,
    ),
    EvalSource(
        name="completion_py",
        task="code2completion",
        where=(
            Distribution(
                "flask", "3.1.3", "0ef0e52b8a9cd932855379197dd8f94047b359ca0a78695144304cb45f87c9eb"
            ),
            Distribution(
                "httpx", "0.28.1", "75e98c5f16b0f35b567856f597f06ff2270a374470a5c2392242528e3e3e42fc"
            ),
            Distribution(
                "attrs", "26.1.0", "d03ceb89cb322a8fd706d4fb91940737b6642aa36998fe130a9bc96c985eff32"
            ),
            Distribution(
                "networkx", "3.6.1", "26b7c357accc0c8cde558ad486283728b65b6a95d85ee1cd66bafab4c8168509"
            ),
            Distribution(
                "sympy", "1.14.0", "d3d3fe8df1e5a0b42f0e7bdf50541697dbe7d23746e894990c030e2b05e72517"
            ),
        ),
        licence="BSD-3-Clause",
        languages=("python",),
        read=read_completion_py,
        mirrors="CodeSearchNetCCRetrieval",
        faithful=(
            "The same shape, second half by first half, but one language, and the other functions of the "
            "same files are the competitors: do not compare scores."
        ),
        queries=1000,
        documents=4437,
    ),
)

EVAL_SOURCES: Mapping[str, EvalSource] = MappingProxyType({row.name: row for row in _ROWS})


def get_eval_source(name: str) -> EvalSource:
    """The row of the evaluation set called `name`.

    Raises ValueError for any other name, with the whole list.
    """
    if name in EVAL_SOURCES:
        return EVAL_SOURCES[name]
    raise ValueError(f"{name!r} is no evaluation set: the sets are {', '.join(EVAL_SOURCES)}.")
