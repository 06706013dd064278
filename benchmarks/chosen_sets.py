"""Which sets a benchmark command means: a folder of them, held-out pairs, or MTEB's own tasks."""

from collections.abc import Sequence
from pathlib import Path

from codequarry.benchmarks.quality import pair_sets
from codequarry.data.eval_set import EvalSet, eval_set_folders, read_eval_set
from codequarry.data.pair_files import read_pairs
from codequarry.integrations.mteb_tasks import BENCHMARK_TASKS, benchmark_task
from codequarry.modules.tasks import TASKS


def local_sets(folder: Path, only: Sequence[str] = ()) -> list[EvalSet]:
    """The evaluation sets at a path, by name.

    only: names of sets, or of our five tasks; () for all. A set whose folder does not say which task it
    is gets that of the table of benchmark tasks.

    Raises ValueError for whatever a set lacks, and for a name that is not there.
    """
    found = []
    for place in eval_set_folders(folder):
        row = BENCHMARK_TASKS.get(place.name)
        if not only or place.name in only or set(only) & set(TASKS):
            found.append(read_eval_set(place, row.task if row is not None else None))
    return _only(found, only, str(folder))


def sets_of_pairs(path: Path, only: Sequence[str] = ()) -> list[EvalSet]:
    """One set a task of the pairs at a path. `only` as in `local_sets`.

    Raises ValueError for a malformed pair, and where there is none.
    """
    return _only(pair_sets(read_pairs(path).pairs), only, str(path))


def suite(only: Sequence[str] = ()) -> list[str]:
    """Names of MTEB's tasks: the twelve of MTEB(Code, v1), or those named in `only`, further ones too.

    Raises ValueError for a name that is not in the table of benchmark tasks, and for a local set's.
    """
    official = [row for row in BENCHMARK_TASKS.values() if row.kind == "official"]
    names = [row.name for row in official if not only or row.task in only]
    for name in only:
        if name not in TASKS and benchmark_task(name).kind == "local":
            raise ValueError(f"{name} is a local set: pass --data DIR for it.")
        if name not in TASKS and name not in names:
            names.append(name)
    return names


def _only(sets: Sequence[EvalSet], only: Sequence[str], where: str) -> list[EvalSet]:
    known = {found.name for found in sets} | {found.task for found in sets}
    for name in only:
        if name not in known:
            raise ValueError(
                f"{name!r} is neither a set at {where} nor a task that one of them has: there are "
                f"{', '.join(found.name for found in sets) or 'none'}."
            )
    return [found for found in sets if not only or found.name in only or found.task in only]
