"""Rows of BM25, models and fusions on a set of commits, each file scored by its best passage."""

from collections.abc import Sequence
from pathlib import Path

from codequarry.benchmarks.best_passage import BestPassageSearch
from codequarry.benchmarks.commit_sets import CommitSet
from codequarry.benchmarks.contenders import Contender
from codequarry.benchmarks.quality import Row
from codequarry.benchmarks.score import rows_of
from codequarry.benchmarks.vectors import Compute, StoredVectors


def score_files(
    commits: CommitSet,
    models: Sequence[Contender],
    *,
    out: Path | None = None,
    cache: Path | None = None,
    compute: Compute = "auto",
    progress: bool = True,
) -> list[Row]:
    """The rows of `benchmarks.score.score` on one set of commits.

    `out`, `cache`, `compute` and `progress` are as there.
    """
    from codequarry.benchmarks.mteb_sets import LocalTask
    from codequarry.benchmarks.one_score import ScoredSet

    found = commits.found
    chosen = ScoredSet(LocalTask(found), found.task, languages=found.languages)
    stored = {one.label: StoredVectors(one, cache, compute=compute, progress=progress) for one in models}
    return rows_of(chosen, models, stored, out, lambda search: BestPassageSearch(search, commits.passages))
