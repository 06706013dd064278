"""TransCoder's evaluation functions: the same problem solved in up to six languages."""

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import product

from codequarry.common.errors import UserError
from codequarry.data.catalog.datasets import CODEXGLUE
from codequarry.data.catalog.schema import EvalSource, Files, Git, TrainSource
from codequarry.data.eval_set import EvalSet, set_of_pairs
from codequarry.data.pair import Pair

_FUNCTION = re.compile(r"^[^\n]*\bf_gold\b", re.MULTILINE)
_END = re.compile(r"//\s*TOFILL|#TOFILL|\n[^\n]*\bf_filled\b|\n\}[ \t]*\n")
_FOLDER = "transcoder_evaluation_gfg"
_FROM = ("cpp", "java", "python")
_TO = ("c", "java", "python", "cpp", "go", "rust")


def read_transcoder(files: Files) -> Iterator[Pair]:
    """Every ordered pair of solutions of one problem, from C++, Java or Python to each other language.

    Where the C and the C++ text are the same, the C++ one is no document: the pair would come twice.
    """
    problems: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for path, content in files:
        parts = path.split("/")
        language = parts[parts.index(_FOLDER) + 1]
        code = content.decode()
        start = _FUNCTION.search(code)
        if language not in _TO or not start:
            continue
        end = _END.search(code, start.end())
        function = code[start.start() : end.start() if end else len(code)].rstrip()
        if end and end[0].startswith("\n}"):
            function += "\n}"
        # What c2rust wrote names C's types; the plain ones are what a reader expects.
        function = function.replace("libc::c_int", "i32").replace('extern "C" ', "")
        problems[parts[-1].partition(".")[0]][language] = function
    for problem in sorted(problems):
        solutions = problems[problem]
        letters = {language: "".join(code.split()) for language, code in solutions.items()}
        for source, target in product(_FROM, _TO):
            if source not in solutions or target not in solutions or letters[source] == letters[target]:
                continue
            if target == "cpp" and letters.get("c") == letters["cpp"]:
                continue
            query, document = solutions[source], solutions[target]
            yield Pair("code2code", query, document, "gfg_code2code", f"{source}-{target}")


def read_codexglue_java_cs(files: Files) -> EvalSet:
    """The test split; each line is a whole method.

    Raises UserError where the two files have not the same number of lines.
    """
    by_ending = {path.rpartition(".")[2]: content.decode().split("\n") for path, content in files}
    java, csharp = by_ending["java"], by_ending["cs"]
    if len(java) != len(csharp):
        raise UserError(f"The Java file has {len(java)} lines and the C# file {len(csharp)}: not a pair.")
    pairs = ((a.strip(), b.strip(), "java") for a, b in zip(java, csharp, strict=True) if a.strip())
    return set_of_pairs("codexglue_java_cs", "code2code", pairs)


_TEST = "/Code-Code/code-to-code-trans/data/test.java-cs.txt"
_CODEGEN = ("facebookresearch/CodeGen", "e3e8855c4abbd7d19c8fec36b49d7e7fe7479dbf")

TRAIN_SOURCES: tuple[TrainSource, ...] = (
    TrainSource(
        name="gfg_code2code",
        tasks=("code2code",),
        where=(Git(*_CODEGEN, tuple(f"/data/{_FOLDER}/{language}/**" for language in sorted(_TO))),),
        licence="MIT",
        languages=tuple(sorted(_TO)),
        read=read_transcoder,
        size=6_144,
        note="TransCoder's evaluation functions, Lachaux et al. 2020, from problems of GeeksforGeeks. "
        "Differs from our first data, where 546 pairs had the same text on both sides; Rust differs in its "
        "types.",
    ),
)

EVAL_SOURCES: tuple[EvalSource, ...] = (
    EvalSource(
        name="codexglue_java_cs",
        task="code2code",
        where=(Git(*CODEXGLUE, (f"{_TEST}.java", f"{_TEST}.cs")),),
        licence="MIT",
        languages=("java", "csharp"),
        read=read_codexglue_java_cs,
        faithful="Our own retrieval set; saturated, so it is a sanity check and left out of means.",
        in_mean=False,
        queries=997,
        documents=995,
    ),
)
