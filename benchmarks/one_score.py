"""Score one searcher on one set, by MTEB's own code."""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import mteb
import numpy as np
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.cache import ResultCache

from codequarry.benchmarks.intervals import interval
from codequarry.benchmarks.precision import CALIBRATION_TEXTS
from codequarry.benchmarks.quality import Row
from codequarry.modules.whole_files import write_text

DEPTH = 100  # documents of each query's ranking that are kept, for fusion

Found = Mapping[str, Mapping[str, float]]  # query id to its ranking


@dataclass(frozen=True)
class ScoredSet:
    """A set in a benchmark.

    task: as MTEB takes it, its texts loaded. ours: which of the five tasks it is.
    languages: by query id, {} where the set does not say.
    dataset, dataset_revision: its name and commit on the Hub; None where it has no page there.
    """

    task: AbsTaskRetrieval
    ours: str
    in_mean: bool = True
    languages: Mapping[str, str] = field(default_factory=dict)
    dataset: str | None = None
    dataset_revision: str | None = None


@dataclass(frozen=True)
class Scored:
    """What a searcher did on a set: its row, and by part of the set the head of each query's ranking."""

    row: Row
    found: Mapping[str, Found]


def score_one(
    searcher: Any, chosen: ScoredSet, *, model: str, variant: str = "", tree: Path | None = None
) -> Scored:
    """Run a searcher, MTEB's search protocol, over a set.

    Arguments:
        model, variant: how the row calls it.
        tree: where MTEB's results file goes, as `<model>/<revision>/<set>.json`; None for nowhere. Files
            there are replaced whole.
    """
    task = chosen.task
    by_query: dict[str, dict[str, float]] = {}
    heads: dict[str, Found] = {}
    original: Callable[..., dict[str, float]] = type(task).task_specific_scores

    def watch(
        scores: Mapping[str, Mapping[str, float]], qrels: Any, results: Found, hf_split: str, hf_subset: str
    ) -> dict[str, float]:
        by_query[hf_subset] = {name: float(found["ndcg_cut_10"]) for name, found in sorted(scores.items())}
        heads[hf_subset] = {name: _head(ranking) for name, ranking in results.items()}
        return original(task, scores, qrels, results, hf_split=hf_split, hf_subset=hf_subset)

    # MTEB hands every query's scores to this method alone; a result file keeps their means.
    setattr(task, "task_specific_scores", watch)  # noqa: B010
    silent = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory() as beside:  # MTEB writes in place: a kill would leave a half
            cache = ResultCache(beside)
            result = mteb.evaluate(
                searcher,
                [task],
                cache=cache if tree is not None else None,
                overwrite_strategy="always",
                encode_kwargs={"batch_size": 32, "show_progress_bar": False},
                show_progress_bar=False,
                co2_tracker=False,
            )
            if tree is not None:
                _publish(Path(beside) / "results", tree)
    finally:
        delattr(task, "task_specific_scores")
        if not silent:
            datasets.enable_progress_bars()
    parts = [part for found in result.task_results[0].scores.values() for part in found]
    scores = [[np.array(list(part.values())) for part in by_query.values()]]
    low, high = interval(scores)
    row = Row(
        model=model,
        task=chosen.ours,
        queries=sum(len(part) for part in by_query.values()),
        documents=sum(len(split["corpus"]) for part in task.dataset.values() for split in part.values()),
        ndcg_at_10=_mean(parts, "ndcg_at_10"),
        mrr_at_10=_mean(parts, "mrr_at_10"),
        recall_at_1=_mean(parts, "recall_at_1"),
        set=task.metadata.name,
        low=round(low, 4),
        high=round(high, 4),
        variant=variant,
        in_mean=chosen.in_mean,
        dataset=chosen.dataset,
        dataset_revision=chosen.dataset_revision,
        by_query=by_query,
    )
    return Scored(row, heads)


def by_language(row: Row, languages: Mapping[str, str]) -> list[dict[str, Any]]:
    """nDCG@10 of a row by language: of its queries where the set says, else of MTEB's subsets."""
    groups: dict[str, list[float]] = {}
    for part, scores in row.by_query.items():
        for name, score in scores.items():
            language = languages.get(name) if languages else part if len(row.by_query) > 1 else None
            if language is not None:
                groups.setdefault(language, []).append(score)
    return [
        {
            "model": row.model,
            "set": row.set,
            "language": language,
            "queries": len(scores),
            "ndcg@10": round(float(np.mean(scores)), 4),
        }
        for language, scores in sorted(groups.items())
    ]


def sample_of_documents(chosen: ScoredSet) -> list[str]:
    """At most 2,000 of a set's documents, spread evenly over it."""
    texts = [
        text
        for part in chosen.task.dataset.values()
        for split in part.values()
        for text in split["corpus"]["text"]
    ]
    return texts[:: -(-len(texts) // CALIBRATION_TEXTS)]


def _mean(parts: list[Any], name: str) -> float:
    return round(float(np.mean([part[name] for part in parts])), 4)


def _head(ranking: Mapping[str, float]) -> dict[str, float]:
    best = sorted(ranking, key=lambda name: (ranking[name], name), reverse=True)[:DEPTH]
    return {name: ranking[name] for name in best}


def _publish(made: Path, tree: Path) -> None:
    for file in sorted(path for path in made.rglob("*") if path.is_file()):
        target = tree / file.relative_to(made)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_text(encoding="utf-8")
        if file.name == "run_settings.jsonl" and target.exists():
            text = _merged(target.read_text(encoding="utf-8"), text)
        write_text(target, text)


def _merged(before: str, now: str) -> str:
    """The settings of each set's latest run: a line of the newer file replaces that of the same set."""
    lines = {}
    for line in [*before.splitlines(), *now.splitlines()]:
        if line.strip():
            record = json.loads(line)
            lines[(record["task"], tuple(record["splits"]))] = line
    return "".join(f"{line}\n" for line in lines.values())
