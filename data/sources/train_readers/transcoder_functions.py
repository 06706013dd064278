"""TransCoder's evaluation functions: the same problem solved in up to six languages."""

import re
from collections import defaultdict
from collections.abc import Iterator

from codequarry.data.pair import Pair
from codequarry.data.sources.schema import Files

_FUNCTION = re.compile(r"^[^\n]*\bf_gold\b", re.MULTILINE)
_END = re.compile(r"//\s*TOFILL|#TOFILL|\n[^\n]*\bf_filled\b|\n\}[ \t]*\n")
_FROM = ("cpp", "java", "python")
_TO = ("c", "java", "python", "cpp", "go", "rust")


def read_transcoder(files: Files) -> Iterator[Pair]:
    """Every ordered pair of solutions of one problem, from C++, Java or Python to each other language.

    Where the C and the C++ text are the same, the C++ one is no document: the pair would come twice.
    """
    problems: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for path, content in files:
        parts = path.split("/")
        language = parts[parts.index("transcoder_evaluation_gfg") + 1]
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
        for source in _FROM:
            for target in _TO:
                if source == target or source not in solutions or target not in solutions:
                    continue
                if target == "cpp" and _letters(solutions.get("c", "")) == _letters(solutions["cpp"]):
                    continue
                if _letters(solutions[source]) != _letters(solutions[target]):
                    query, document = solutions[source], solutions[target]
                    yield Pair("code2code", query, document, "gfg_code2code", f"{source}-{target}")


def _letters(code: str) -> str:
    return "".join(code.split())
