"""Rosetta Code: a task's description → programs, programs → the description, and programs → programs."""

import html
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import permutations

from codequarry.data.catalog.datasets import lot, texts
from codequarry.data.catalog.schema import EvalSource, Files, Git, TrainSource
from codequarry.data.eval_set import EvalSet, set_of_pairs
from codequarry.data.pair import Pair

LANGUAGES = {
    "AWK": "awk", "Ada": "ada", "C": "c", "C++": "cpp", "C-sharp": "csharp", "Clojure": "clojure",
    "Common-Lisp": "lisp", "Crystal": "crystal", "D": "d", "Dart": "dart", "Elixir": "elixir",
    "Erlang": "erlang", "F-Sharp": "fsharp", "Fortran": "fortran", "Go": "go", "Groovy": "groovy",
    "Haskell": "haskell", "Java": "java", "JavaScript": "javascript", "Julia": "julia", "Kotlin": "kotlin",
    "Lua": "lua", "MATLAB": "matlab", "Nim": "nim", "OCaml": "ocaml", "PHP": "php", "Perl": "perl",
    "PowerShell": "powershell", "Python": "python", "R": "r", "Racket": "racket", "Ruby": "ruby",
    "Rust": "rust", "SQL": "sql", "Scala": "scala", "Swift": "swift", "Tcl": "tcl",
    "TypeScript": "typescript", "UNIX-Shell": "bash", "Visual-Basic-.NET": "vbnet",
}  # fmt: skip

_SHORTEST, _LONGEST = 55, 3_490  # characters of a program
_LONGEST_DESCRIPTION = 1_500
_SHORTEST_DESCRIPTION = 60
_PROGRAMS = 30  # of a task for its description
_PAIRS = 42  # of programs in two languages, per task
_DESCRIBED = 3  # programs of a task that ask for its description
_BY_NUMBER = re.compile(r"-(\d+)\.[^.]*$")
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_PICTURE = re.compile(r"\[\[(?:File|Image):[^\[\]]*\]\]", re.IGNORECASE)
_PAGE_LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]")
_URL_LINK = re.compile(r"\[https?:\S+\s+([^\]]*)\]")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_QUOTES = re.compile(r"'{2,}")


@dataclass
class _Task:
    """One task.

    programs: by language, in the order in which the page has them.
    """

    description: str = ""
    programs: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def read_descriptions(files: Files) -> Iterator[Pair]:
    """Description → the first program of a language that is neither tiny nor huge; up to thirty per task."""
    for description, program, language in _described(files, _PROGRAMS):
        yield Pair("nl2code", description, program, "rosetta_nl2code", language)


def read_translations(files: Files) -> Iterator[Pair]:
    """Program → program of the same task: up to 42 pairs of languages, and the first two of one language."""
    for name, task in _tasks(files).items():
        pairs = sorted(permutations(sorted(task.programs), 2), key=lambda pair: lot(name, *pair))[:_PAIRS]
        pairs += [(language, language) for language, found in task.programs.items() if len(found) > 1]
        for source, target in sorted(pairs):
            query, document = task.programs[source][0], task.programs[target][source == target]
            yield Pair("code2code", query, document, "rosetta_code2code", f"{source}-{target}")


def read_explanations(files: Files) -> Iterator[Pair]:
    """Program → description, three programs per task: more would repeat one document too often."""
    for description, program, language in _described(files, _DESCRIBED, "described"):
        yield Pair("code2nl", program, description, "rosetta_code2nl", language)


def _described(files: Files, most: int, *salt: str) -> Iterator[tuple[str, str, str]]:
    """Description, program and language: the first program in each of up to `most` languages per task."""
    for name, task in _tasks(files).items():
        languages = sorted(task.programs, key=lambda language: lot(name, language, *salt))[:most]
        for language in sorted(languages) if task.description else ():
            yield task.description, task.programs[language][0], language


def _tasks(files: Files) -> dict[str, _Task]:
    """Every task but those that are evaluated on, sorted by name."""
    tasks: defaultdict[str, _Task] = defaultdict(_Task)
    for path, text in sorted(texts(files), key=lambda file: _in_page_order(file[0])):
        name, folder = path.split("/")[3:5]
        if is_held_out_task(name):
            continue
        if folder == "00DESCRIPTION":
            tasks[name].description = _description(name, text)
        elif folder in LANGUAGES and _SHORTEST <= len(text.strip()) <= _LONGEST:
            tasks[name].programs[LANGUAGES[folder]].append(text.strip())
    return dict(sorted(tasks.items()))


def _in_page_order(path: str) -> tuple[str, int, str]:
    number = _BY_NUMBER.search(path)
    return path.rpartition("/")[0], int(number[1]) if number else 0, path


def _description(name: str, markup: str) -> str:
    text = _URL_LINK.sub(r"\1", _PAGE_LINK.sub(r"\1", _PICTURE.sub("", _TEMPLATE.sub("", markup))))
    text = html.unescape(_QUOTES.sub("", _TAG.sub("", text)))
    lines = [" ".join(line.split()) for line in text.split("\n")]
    text = "\n".join(line for line in lines if line)[:_LONGEST_DESCRIPTION].rstrip()
    return f"{name.replace('-', ' ')}. {text}" if len(text) >= _SHORTEST_DESCRIPTION else ""


_SHORTEST_FILE, _LONGEST_FILE = 60, 3500  # characters of a file
_HELD_OUT = 42  # percent of the tasks


def read_rosetta_py_cpp(files: Files) -> EvalSet:
    """The first usable solution of each language, by file name.

    Every task's C++ is a document; the Python of a held-out task is a query.
    """
    solutions: dict[str, dict[str, str]] = defaultdict(dict)
    for path, content in sorted(files):
        task, language = path.split("/")[-3:-1]
        text = content.decode("utf-8", "replace")
        if _SHORTEST_FILE <= len(text) <= _LONGEST_FILE and text.strip():
            solutions[language].setdefault(task, text.strip("\n").rstrip())
    cpp, python = solutions["C++"], solutions["Python"]
    pairs = (
        (python[task].strip(), cpp[task], "python")
        for task in cpp
        if task in python and is_held_out_task(task)
    )
    return set_of_pairs("rosetta_py_cpp", "code2code", pairs, documents=cpp.values())


def is_held_out_task(task: str) -> bool:
    """Whether a task is evaluated on, by its folder's name; no solution of it may be trained on."""
    return lot(task) % 100 < _HELD_OUT


_ROSETTA = ("bgloyer/RosettaCodeData", "88f62ba8313782006d9684f95b4174011802f640")
_ROSETTA_CODE = tuple(f"/Task/*/{folder}/*" for folder in LANGUAGES)
_ROSETTA_LANGUAGES = tuple(sorted(LANGUAGES.values()))

_train_source = partial(TrainSource, licence="GFDL-1.2-or-later", languages=_ROSETTA_LANGUAGES)

TRAIN_SOURCES: tuple[TrainSource, ...] = (
    _train_source(
        name="rosetta_nl2code",
        tasks=("nl2code",),
        where=(Git(*_ROSETTA, ("/Task/*/00DESCRIPTION", *_ROSETTA_CODE)),),
        read=read_descriptions,
        size=9_782,
        note="Rosetta Code's contributors, as of 2021, without the tasks evaluated on. Differs from our "
        "first data in the markup of descriptions, and leaves out tasks held out that have no Python or C++.",
    ),
    _train_source(
        name="rosetta_code2code",
        tasks=("code2code",),
        where=(Git(*_ROSETTA, _ROSETTA_CODE),),
        read=read_translations,
        size=21_106,
        note="Rosetta Code's contributors, as of 2021, without the tasks evaluated on. Differs from our "
        "first data in which pairs of languages the lot takes.",
    ),
    _train_source(
        name="rosetta_code2nl",
        tasks=("code2nl",),
        where=(Git(*_ROSETTA, ("/Task/*/00DESCRIPTION", *_ROSETTA_CODE)),),
        read=read_explanations,
        size=1_284,
        note="Rosetta Code's contributors, as of 2021, without the tasks evaluated on. Differs from our "
        "first data in which programs the lot takes.",
    ),
)

EVAL_SOURCES: tuple[EvalSource, ...] = (
    EvalSource(
        name="rosetta_py_cpp",
        task="code2code",
        where=(Git(*_ROSETTA, ("/Task/*/C++/*", "/Task/*/Python/*")),),
        licence="GFDL-1.2-or-later",
        languages=("python", "cpp"),
        read=read_rosetta_py_cpp,
        mirrors="CodeTransOceanContest",
        faithful="The same shape, Python to C++ of one task, from the same site: do not compare scores.",
        queries=195,
        documents=526,
    ),
)
