"""Evaluation sets as MTEB's tasks: ours out of memory, its own from the Hub."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import mteb
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

from codequarry.common.errors import UserError
from codequarry.data.eval_set import EvalSet, eval_set_folders, pair_sets, read_eval_set
from codequarry.data.pair_files import read_pairs
from codequarry.integrations.mteb import BENCHMARK_TASKS, benchmark_task
from codequarry.modules.tasks import TASKS

BENCHMARK = "MTEB(Code, v1)"


class LocalTask(AbsTaskRetrieval):
    """An `EvalSet` as MTEB scores one; its results carry a hash of its texts as revision."""

    k_values = (1, 3, 5, 10, 20, 100)  # MTEB's own go to 1,000, and most of the time would go there

    def __init__(self, found: EvalSet) -> None:
        self.metadata = TaskMetadata(
            name=found.name,
            description=f"{found.name}, a local set of the task {found.task}.",
            dataset={"path": f"local/{found.name}", "revision": revision(found)},
            type="Reranking" if found.candidates else "Retrieval",
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )
        super().__init__()
        everything = list(found.documents)
        few = {name: list(found.candidates.get(name, everything)) for name in found.queries}
        self.dataset = {
            "default": {
                "test": {
                    "queries": _texts(found.queries),
                    "corpus": _texts(found.documents),
                    "relevant_docs": {name: dict(gains) for name, gains in found.relevant.items()},
                    "top_ranked": few if found.candidates else None,
                }
            }
        }
        self.data_loaded = True


def revision(found: EvalSet) -> str:
    """A sha256 over all that is scored: it changes when a text, a judgment or a candidate does."""
    content = [
        found.task,
        dict(found.queries),
        dict(found.documents),
        {name: dict(gains) for name, gains in found.relevant.items()},
        {name: list(few) for name, few in found.candidates.items()},
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def official_tasks(names: Iterable[str] = ()) -> list[AbsTaskRetrieval]:
    """MTEB's own tasks, texts not loaded yet: those named, or the twelve of MTEB(Code, v1) where none is.

    Raises UserError for a name that is not in the table of benchmark tasks, or is a local set.
    """
    wanted = list(names) or [row.name for row in BENCHMARK_TASKS.values() if row.kind == "official"]
    for name in wanted:
        if benchmark_task(name).kind == "local":
            raise UserError(f"{name} is a local set, not one of mteb's: pass --data DIR for it.")
    tasks: Sequence[Any] = (
        mteb.get_benchmark(BENCHMARK).tasks
        if not list(names)
        else mteb.get_tasks(wanted, exclude_superseded=False)
    )
    return cast(list[AbsTaskRetrieval], list(tasks))


def load_from_hub(task: AbsTaskRetrieval) -> None:
    """Load the texts of one of MTEB's tasks; UserError, with what to do, where the Hub gives none."""
    try:
        task.load_data()
        task.convert_v1_dataset_format_to_v2(num_proc=None)
    except Exception as error:  # httpx, requests, datasets and huggingface_hub each raise their own
        reason = next(iter(str(error).splitlines()), "")
        raise UserError(
            f"{task.metadata.name} could not be loaded from the Hub ({type(error).__name__}: {reason}). "
            "Check the network, or score local sets: codequarry benchmark MODEL --data DIR."
        ) from error


def _texts(named: Any) -> Dataset:
    return Dataset.from_dict({"id": list(named), "text": list(named.values())})


def local_sets(folder: Path, only: Sequence[str] = ()) -> list[EvalSet]:
    """The evaluation sets at a path, by name.

    only: names of sets, or of our five tasks; () for all. A set whose folder does not say which task it
    is gets that of the table of benchmark tasks.

    Raises UserError for whatever a set lacks, and for a name that is not there.
    """
    found = []
    for place in eval_set_folders(folder):
        row = BENCHMARK_TASKS.get(place.name)
        if not only or place.name in only or set(only) & set(TASKS):
            found.append(read_eval_set(place, row.task if row is not None else None))
    return _only(found, only, str(folder))


def sets_of_pairs(path: Path, only: Sequence[str] = ()) -> list[EvalSet]:
    """One set per task of the pairs at a path. `only` as in `local_sets`.

    Raises UserError for a malformed pair, and where there is none.
    """
    return _only(pair_sets(read_pairs(path).pairs), only, str(path))


def suite(only: Sequence[str] = ()) -> list[str]:
    """Names of MTEB's tasks: the twelve of MTEB(Code, v1), or those named in `only`, further ones too.

    Raises UserError for a name that is not in the table of benchmark tasks, and for a local set's.
    """
    official = [row for row in BENCHMARK_TASKS.values() if row.kind == "official"]
    names = [row.name for row in official if not only or row.task in only]
    for name in only:
        if name not in TASKS and benchmark_task(name).kind == "local":
            raise UserError(f"{name} is a local set: pass --data DIR for it.")
        if name not in TASKS and name not in names:
            names.append(name)
    return names


def _only(sets: Sequence[EvalSet], only: Sequence[str], where: str) -> list[EvalSet]:
    known = {found.name for found in sets} | {found.task for found in sets}
    for name in only:
        if name not in known:
            raise UserError(
                f"{name!r} is neither a set at {where} nor a task that one of them has: there are "
                f"{', '.join(found.name for found in sets) or 'none'}."
            )
    return [found for found in sets if not only or found.name in only or found.task in only]
