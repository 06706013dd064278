"""The files of a tree, read and parsed by several processes in batches; results come in the tree's order."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from codequarry.data.mining.commits import MINED_LANGUAGES
from codequarry.data.mining.filters import is_vendored, names_copyleft
from codequarry.data.mining.functions import pairs_of_file
from codequarry.data.mining.schema import MinedPair
from codequarry.data.mining.unit_tests import Function, find_tests
from codequarry.data.parsing.languages import language_of
from codequarry.data.parsing.parse import read_source
from codequarry.data.parsing.source_files import SourceReport, list_sources

_BATCH = 40  # files; large enough that handing them over costs nothing, small enough for an even end
_WORTH_A_PROCESS = 200  # files; fewer are read before a second process has started


@dataclass
class Findings:
    """What some files of a tree gave.

    found: their pairs, but for those of tests.
    tests, functions: what pairs of tests are made of, once all files are read.
    filtered: what was left out, by reason.
    foreign: paths of files that are not under the repository's licence.
    report: files read and passed over.
    """

    found: list[MinedPair] = field(default_factory=list)
    tests: list[Function] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    filtered: Counter[str] = field(default_factory=Counter)
    foreign: set[str] = field(default_factory=set)
    report: SourceReport = field(default_factory=SourceReport)

    def add(self, other: "Findings") -> None:
        """Append what other files gave."""
        self.found += other.found
        self.tests += other.tests
        self.functions += other.functions
        self.filtered += other.filtered
        self.foreign |= other.foreign
        self.report.read += other.report.read
        self.report.skipped += other.report.skipped


def read_files(
    folder: Path,
    name: str,
    kinds: Sequence[str],
    *,
    workers: int,
    own_licence: bool = False,
    progress: bool = True,
) -> Findings:
    """Everything that the files below a folder give, the same for any number of workers.

    Arguments:
        name: what the pairs' source is called.
        kinds: names of `KINDS` that are wanted.
        workers: processes; 1 stays in this one.
        own_licence: pass over files that are not under the repository's own licence.
        progress: show a bar after two seconds.

    Raises ValueError when `folder` is none, and when the processes cannot start.
    """
    whole = Findings()
    listed = list_sources(folder, whole.report)
    paths = [path for path in listed if language_of(path) in MINED_LANGUAGES]
    whole.report.skipped["not a language that is mined"] += len(listed) - len(paths)
    batches = [
        (folder, name, kinds, own_licence, paths[at : at + _BATCH]) for at in range(0, len(paths), _BATCH)
    ]
    bar = tqdm(
        total=len(paths), desc=f"reading {name}", unit=" files", delay=2, disable=not progress, leave=False
    )
    with bar:
        if workers == 1 or len(paths) < _WORTH_A_PROCESS:
            answers: Iterator[Findings] = map(_read_batch, batches)
        else:
            answers = _in_processes(batches, workers)
        for batch, findings in zip(batches, answers, strict=True):
            whole.add(findings)
            bar.update(len(batch[-1]))
    whole.report.skipped = +whole.report.skipped
    return whole


_Batch = tuple[Path, str, Sequence[str], bool, list[str]]


def _in_processes(batches: Sequence[_Batch], workers: int) -> Iterator[Findings]:
    # `spawn` everywhere: a fork of a process that has loaded torch may hang.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield from pool.map(_read_batch, batches)
    except BrokenProcessPool as broken:
        raise ValueError(
            "A process that reads files ended early. In a script of your own, call mine() below "
            '`if __name__ == "__main__":`, or pass workers=1.'
        ) from broken
    finally:
        pool.shutdown(cancel_futures=True)


def _read_batch(batch: _Batch) -> Findings:
    folder, name, kinds, own_licence, paths = batch
    findings = Findings()
    of_one_file = [kind for kind in kinds if kind not in ("test", "commit")]
    for path in paths:
        source = read_source(folder, path, findings.report)
        if source is None:
            continue
        if own_licence and (is_vendored(path) or names_copyleft(source.text)):
            findings.foreign.add(path)
            findings.report.read -= 1
            findings.report.skipped["not under the repository's licence"] += 1
            continue
        if of_one_file:
            findings.found += pairs_of_file(source, name, of_one_file, findings.filtered)
        if "test" in kinds:
            tests, functions = find_tests(source)
            findings.tests += tests
            findings.functions += functions
    return findings
