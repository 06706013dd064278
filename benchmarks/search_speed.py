"""What a search costs: first and later answers, an update, and a large checkout; beside an older version.

    python -m codequarry.benchmarks.search_speed path/to/code --older path/to/older/codequarry
    python -m codequarry.benchmarks.search_speed path/to/large/code --large

Each search is a process of its own, timed from start to end, the contenders by turns. Beside seconds on the
clock stand seconds of processor time, which other work on the machine changes less. Code is copied first, so
that one file of it can be changed.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codequarry.common.environment import origin, peak_memory, written_command
from codequarry.common.errors import UserError, run_program
from codequarry.common.files import read_json, write_json
from codequarry.common.tables import markdown_table

RESULTS = Path(__file__).with_name("results") / "search_speed.json"
_NEW = Path(__file__).parents[1]
_QUESTIONS = (
    "truncate embeddings to fewer dimensions",
    "save the model and its configuration to a folder",
    "how are negatives sampled",
    "compute the similarity of two batches of vectors",
    "where is the progress bar shown",
    "read a configuration file",
    "split texts over several processes",
    "write a card that describes the model",
    "stop when the score no longer improves",
    "convert numbers to a smaller type",
)


@dataclass(frozen=True)
class Contender:
    """A version of the command with its options.

    package: the folder of the package. options: of `codequarry search`.
    """

    name: str
    package: Path
    options: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One process: its seconds on the clock and of the processor, and its most memory in bytes."""

    seconds: float
    processor_seconds: float
    memory: int


def search(contender: Contender, code: Path, cache: Path, question: str) -> Run:
    """Ask one question in a process of its own. Raises UserError where it fails."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "PYTHONPATH": str(contender.package.resolve().parent),
        "CODEQUARRY_CACHE": str(cache),
    }
    words = [sys.executable, "-m", "codequarry", "search", question, str(code), *contender.options]
    started = time.perf_counter()
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=cache.parent
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if exit_code := os.waitstatus_to_exitcode(status):
        raise UserError(f"{contender.name} ended with {exit_code}: {said.decode(errors='replace')[-500:]}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def rounds(contender: Contender, code: Path, work: Path, number: int) -> dict[str, Run]:
    """A first answer with an empty cache, a later one to a new question, and one after a file has changed."""
    cache = work / f"cache-{contender.name.replace(' ', '-')}"
    shutil.rmtree(cache, ignore_errors=True)
    question = [_QUESTIONS[(3 * number + step) % len(_QUESTIONS)] for step in range(3)]
    first = search(contender, code, cache, question[0])
    later = search(contender, code, cache, question[1])
    changed = max(code.rglob("*.py"), key=lambda file: file.stat().st_size)
    with changed.open("a", encoding="utf-8") as file:
        file.write(f"\n\ndef added_{time.time_ns()}():\n    return {number}\n")
    return {"first": first, "later": later, "update": search(contender, code, cache, question[1])}


def large(code: Path, model: str) -> dict[str, Any]:
    """Build time, memory and seconds of a query in a running process, of a large checkout."""
    from codequarry.search.query import Searcher

    with tempfile.TemporaryDirectory() as cache:
        started, used = time.perf_counter(), time.process_time()
        searcher = Searcher(code, model, cache=Path(cache), progress=False)
        answers = searcher.search(_QUESTIONS[0])
        built, processor = time.perf_counter() - started, time.process_time() - used
        timings: dict[str, list[float]] = {"with a look for changes": [], "without": []}
        for question in _QUESTIONS * 3:
            for name, refresh in (("with a look for changes", True), ("without", False)):
                began = time.process_time()
                searcher.search(question, refresh=refresh)
                timings[name].append(time.process_time() - began)
    return {
        "code": code.name,
        "files": answers.refresh.files,
        "chunks": answers.refresh.chunks,
        "build_seconds": round(built, 1),
        "build_processor_seconds": round(processor, 1),
        "peak_memory_mb": round((peak_memory() or 0) / 1e6),
        "query_processor_ms_p50": {
            name: round(1000 * statistics.median(found), 1) for name, found in timings.items()
        },
    }


def speed_table(record: dict[str, Any]) -> str:
    """Seconds and memory of each kind of search, as documentation shows them."""
    lines = [
        [
            row["contender"],
            row["what"],
            f"{row['processor_seconds']:.1f}",
            f"{row['seconds']:.1f}",
            f"{row['memory_mb']:,} MB",
        ]
        for row in record["searches"]["rows"]
    ]
    return markdown_table(["search", "answer", "processor seconds", "seconds", "memory"], lines)


def large_table(record: dict[str, Any]) -> str:
    """The index of a large checkout, as documentation shows it."""
    found = record["large"]
    queries = found["query_processor_ms_p50"]
    cells = [
        found["code"],
        f"{found['files']:,}",
        f"{found['chunks']:,}",
        f"{found['build_processor_seconds']:.0f} s",
        f"{found['peak_memory_mb']:,} MB",
        f"{queries['without']:.0f} ms",
        f"{queries['with a look for changes']:.0f} ms",
    ]
    head = ["code", "files", "chunks", "build, processor", "memory", "query", "with a look for changes"]
    return markdown_table(head, [cells])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this program."""
    add = parser.add_argument
    add("code", type=Path, help="a folder of code")
    add("--older", type=Path, help="an older version to run beside: its package, a folder called codequarry")
    add("--rounds", type=int, default=5, help="of the contenders (default: 5)")
    add("--older-rounds", type=int, default=1, help="in how many the older one takes part (default: 1)")
    add("--large", action="store_true", help="measure the index of a large checkout instead")
    add("--out", type=Path, default=RESULTS, help="the results file; its other part is kept")


def run(arguments: argparse.Namespace) -> None:
    """Measure, print a table, and write the results file."""
    command = written_command("python -m codequarry.benchmarks.search_speed")
    kept = read_json(arguments.out) if arguments.out.is_file() else {}
    if arguments.large:
        measured = large(arguments.code, "pico")
        found = {**origin(command), **measured}  # what describes the machine imports torch
        write_json(arguments.out, {**kept, "large": found})
        print(found)
        return
    if arguments.older and not (arguments.older / "__main__.py").is_file():
        raise UserError(f"{arguments.older} is no package: pass the folder `codequarry` of an older version.")
    contenders = [
        Contender("pico", _NEW, ("--model", "pico")),
        Contender("cascade mini", _NEW, ()),
    ]
    older = Contender("older", arguments.older, ()) if arguments.older else None
    runs: dict[str, dict[str, list[Run]]] = {}
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        code = work / "code"
        shutil.copytree(arguments.code, code, ignore=shutil.ignore_patterns("__pycache__"))
        for number in range(arguments.rounds):
            turn = [*contenders, *([older] if older and number < arguments.older_rounds else [])]
            for contender in turn:
                for what, found_run in rounds(contender, code, work, number).items():
                    runs.setdefault(contender.name, {}).setdefault(what, []).append(found_run)
    rows = [
        {
            "contender": name,
            "what": what,
            "rounds": len(some),
            "seconds": round(statistics.median(one.seconds for one in some), 2),
            "processor_seconds": round(statistics.median(one.processor_seconds for one in some), 2),
            "memory_mb": round(max(one.memory for one in some) / 1e6),
        }
        for name, by_what in runs.items()
        for what, some in by_what.items()
    ]
    write_json(arguments.out, {**kept, "searches": {**origin(command), "rows": rows}})
    print(speed_table({"searches": {"rows": rows}}))


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
