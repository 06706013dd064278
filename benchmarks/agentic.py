"""The agentic row: commit messages and the files they changed, over four repositories kept for it.

    codequarry benchmark MODEL --agentic [--mirrors DIR]

What SWE-bench asks of an agent first, with the commit's text in place of the issue's. The repositories are
never mined for training (`data.sources.never_mined`), and pinned, so that scores can be compared for years.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codequarry.benchmarks.commit_sets import CommitSet


@dataclass(frozen=True)
class AgenticSource:
    """One repository of the agentic row.

    commit: 40 hex digits; the newest commits before it are asked about.
    queries: how many at the default size, when the row was written.
    """

    repository: str
    commit: str
    language: str
    queries: int

    @property
    def name(self) -> str:
        """The set's: `commits_click`."""
        return f"commits_{self.repository.partition('/')[2]}"


AGENTIC: tuple[AgenticSource, ...] = (
    AgenticSource("pallets/click", "2c8cd3ac958a7eb316d67f2d316c27086c4c0369", "python", 100),
    AgenticSource("psf/requests", "1f6589ec3a1ee910f9a65cc3ceac60b26677bc0e", "python", 100),
    AgenticSource("expressjs/express", "a3714473feb3d2908add734d340e7755fd85e0a3", "javascript", 100),
    AgenticSource("spf13/cobra", "adbc8813901bba65827259daa8e22ff94ec1f30e", "go", 100),
)


def agentic_sets(
    *, queries: int, passages: int, mirrors: Path | None = None, progress: bool = True
) -> "Iterator[CommitSet]":
    """The set of each repository, one after the other; arguments as in `commit_set`.

    Raises ValueError for a repository that is neither in `mirrors` nor to be had from the network.
    """
    from codequarry.benchmarks.commit_sets import commit_set
    from codequarry.data.git_repository import open_repository

    for source in AGENTIC:
        repository = open_repository(source.repository, commit=source.commit, mirrors=mirrors, history=True)
        yield commit_set(
            repository,
            source.name,
            newest=source.commit,
            queries=queries,
            passages=passages,
            holdout=1,  # nothing of them is ever trained on
            progress=progress,
        )


def run(arguments: argparse.Namespace) -> None:
    """`codequarry benchmark MODEL… --agentic`: score, print and write, a file a model and MTEB's tree."""
    started = time.perf_counter()
    from transformers.utils.logging import disable_progress_bar

    from codequarry.benchmarks.command import out_folder, vectors_folder
    from codequarry.benchmarks.file_scores import score_files
    from codequarry.benchmarks.origin import written_command
    from codequarry.benchmarks.quality import Row, score_table, with_means
    from codequarry.benchmarks.score import BM25, FUSED, PLAIN, contenders
    from codequarry.benchmarks.summary import summary_name, write_results

    if not arguments.models:
        raise ValueError("no model was named: codequarry benchmark MODEL… --agentic, e.g. all-MiniLM-L6-v2.")
    disable_progress_bar()
    models = contenders(arguments.models)
    out = out_folder(arguments)
    rows: list[Row] = []
    notes: list[str] = []
    for commits in agentic_sets(
        queries=arguments.queries, passages=arguments.documents, mirrors=arguments.mirrors
    ):
        rows += score_files(
            commits, models, out=out, cache=vectors_folder(arguments), compute=arguments.compute
        )
        notes.append(
            f"{commits.found.name}: {len(commits.found.queries)} commits, {commits.oldest} to "
            f"{commits.newest}; {commits.naming:.0%} of the messages name a file they changed."
        )
    names = list(dict.fromkeys(row.name for row in rows))
    rows = with_means(sorted(rows, key=lambda row: names.index(row.name)))
    print(f"Commit message → files it changed\n\n{score_table(rows)}\n")
    print("\n".join(notes))
    for model in models:
        path = out / f"agentic__{summary_name(model.label)}"
        own = [row for row in rows if row.model in (BM25, PLAIN, model.label, f"{model.label}{FUSED}")]
        write_results(
            path,
            own,
            benchmark="commit message to the files it changed, four pinned repositories",
            command=written_command(),
            more={"commits": {one.repository: one.commit for one in AGENTIC}, "notes": notes},
        )
        print(f"wrote {path}")
    print(f"{time.perf_counter() - started:.0f} s")
