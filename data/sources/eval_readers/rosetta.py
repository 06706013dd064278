"""Rosetta Code: a task solved in Python → the same task solved in C++."""

import zlib
from collections import defaultdict

from codequarry.data.eval_set import EvalSet
from codequarry.data.sources.eval_readers.from_pairs import set_of_pairs
from codequarry.data.sources.schema import Files

_SHORTEST, _LONGEST = 60, 3500  # characters of a file
_HELD_OUT = 42  # percent of the tasks


def read_rosetta_py_cpp(files: Files) -> EvalSet:
    """The first usable solution of each language, by file name.

    Every task's C++ is a document; the Python of a held-out task is a query.
    """
    solutions: dict[str, dict[str, str]] = defaultdict(dict)
    for path, content in sorted(files):
        task, language = path.split("/")[-3:-1]
        text = content.decode("utf-8", "replace")
        if _SHORTEST <= len(text) <= _LONGEST and text.strip():
            solutions[language].setdefault(task, text.strip("\n").rstrip())
    cpp, python = solutions["C++"], solutions["Python"]
    pairs = (
        (python[task].strip(), cpp[task], "python")
        for task in cpp
        if task in python and is_held_out_task(task)
    )
    return set_of_pairs("rosetta_py_cpp", "code2code", pairs, documents=cpp.values())


def is_held_out_task(task: str) -> bool:
    """Whether a task is evaluated on, told by its folder's name; no solution of it may be trained on."""
    return zlib.crc32(task.encode()) % 100 < _HELD_OUT
