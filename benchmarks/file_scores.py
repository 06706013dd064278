"""Rows of BM25, models and fusions on a set of commits, each file scored by its best passage."""

from collections.abc import Sequence
from pathlib import Path

from codequarry.benchmarks.best_passage import BestPassageSearch
from codequarry.benchmarks.bm25 import BM25Search, code_words, plain_words
from codequarry.benchmarks.commit_sets import CommitSet
from codequarry.benchmarks.contenders import Contender
from codequarry.benchmarks.fusion import FusedSearch
from codequarry.benchmarks.quality import Row
from codequarry.benchmarks.score import BM25, FUSED, PLAIN
from codequarry.benchmarks.searchers import dense_search, place_of
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
    from codequarry.benchmarks.one_score import ScoredSet, score_one

    found = commits.found
    chosen = ScoredSet(LocalTask(found), found.task, languages=found.languages)
    words = score_one(
        BestPassageSearch(BM25Search(code_words, "codequarry/bm25"), commits.passages),
        chosen, model=BM25, tree=out,
    )  # fmt: skip
    plain = score_one(
        BestPassageSearch(BM25Search(plain_words, "codequarry/bm25-plain"), commits.passages),
        chosen, model=PLAIN, tree=out,
    )  # fmt: skip
    rows = [words.row, plain.row]
    for model in models:
        vectors = StoredVectors(model, cache, compute=compute, progress=progress)
        near = BestPassageSearch(dense_search(model, vectors, found.task), commits.passages)
        dense = score_one(near, chosen, model=model.label, tree=out)
        place = place_of(model)
        fused = FusedSearch([dense.found, words.found], f"{place.name}+bm25", place.revision)
        rows += [dense.row, score_one(fused, chosen, model=f"{model.label}{FUSED}", tree=out).row]
    return rows
