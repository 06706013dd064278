"""A benchmark on your own repository: what was mined from it and kept out of training is asked of the models.

    codequarry benchmark mini all-MiniLM-L6-v2 --repo path/to/checkout
    codequarry benchmark mini --repo pallets/click --queries 50

Two sets: docstring → function over all functions, and commit message → the files it changed.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from codequarry.benchmarks.commit_sets import CommitSet
    from codequarry.benchmarks.function_sets import FunctionSet

FEW = 10  # queries; fewer say hardly anything
QUERIES, DOCUMENTS = 100, 8_000  # about three minutes for MiniLM on two cores
_T = TypeVar("_T")


@dataclass(frozen=True)
class OwnSets:
    """What a repository can be asked, and in `notes` what a reader of the scores should know.

    commit: whose files these are; None for a folder read as it lies.
    functions, commits: None where there is none, and a note says why.
    """

    name: str
    commit: str | None
    functions: "FunctionSet | None"
    commits: "CommitSet | None"
    notes: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that `--repo` and `--agentic` take beside the common ones."""
    parser.add_argument(
        "--queries", type=int, default=QUERIES, metavar="N",
        help="of each set of a repository at most; more give narrower intervals (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--documents", type=int, default=DOCUMENTS, metavar="N",
        help="functions or passages of files that are searched at most (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--mirrors", type=Path, metavar="DIR",
        help="a folder of clones named owner+name or name, tried before the network",
    )  # fmt: skip


def own_sets(
    where: str,
    *,
    queries: int = QUERIES,
    documents: int = DOCUMENTS,
    mirrors: Path | None = None,
    progress: bool = True,
) -> OwnSets:
    """The two sets of a repository.

    Arguments:
        where: a checkout, a bare clone, a plain folder, `owner/name` on GitHub, or a URL.
        queries: of each set at most.
        documents: functions, and passages of files, at most.
        mirrors: as in `open_repository`.

    Raises ValueError where there is no such place, or where it gives not a single query.
    """
    from codequarry.benchmarks.commit_sets import commit_set
    from codequarry.benchmarks.function_sets import function_set
    from codequarry.data.mining.trees import open_tree

    for name, most in (("queries", queries), ("documents", documents)):
        if most < 1:
            raise ValueError(f"{name} is {most}: pass 1 or more.")
    notes: list[str] = []
    with open_tree(where, mirrors=mirrors) as tree:
        functions = _unless_impossible(
            lambda: function_set(
                where,
                tree,
                "functions",
                queries=queries,
                documents=documents,
                mirrors=mirrors,
                progress=progress,
            ),
            notes,
        )
        commits = None
        if tree.history is None:
            notes.append(f"commit message → files: not measured. {tree.name} is no git repository.")
        else:
            repository, newest = tree.history
            commits = _unless_impossible(
                lambda: commit_set(
                    repository,
                    "commits",
                    newest=newest,
                    queries=queries,
                    passages=documents,
                    progress=progress,
                ),
                notes,
            )
        if functions is None and commits is None:
            raise ValueError(f"{tree.name} cannot be asked anything. {' '.join(notes)}")
        notes = [*_about_functions(functions), *_about_commits(commits), *notes]
        return OwnSets(tree.name, tree.commit, functions, commits, tuple(notes))


def run(arguments: argparse.Namespace) -> None:
    """`codequarry benchmark MODEL… --repo WHERE`: score, print and write."""
    started = time.perf_counter()
    from transformers.utils.logging import disable_progress_bar

    from codequarry.benchmarks.command import out_folder, vectors_folder
    from codequarry.benchmarks.file_scores import score_files
    from codequarry.benchmarks.origin import written_command
    from codequarry.benchmarks.quality import score_table
    from codequarry.benchmarks.score import contenders, score
    from codequarry.benchmarks.summary import write_results

    if not arguments.models:
        raise ValueError(
            "no model was named: codequarry benchmark MODEL… --repo PATH, e.g. all-MiniLM-L6-v2."
        )
    disable_progress_bar()
    models = contenders(arguments.models)
    found = own_sets(
        str(arguments.repo),
        queries=arguments.queries,
        documents=arguments.documents,
        mirrors=arguments.mirrors,
    )
    settings: Mapping[str, Any] = {"cache": vectors_folder(arguments), "compute": arguments.compute}
    rows = []
    if found.functions is not None:
        rows += score([found.functions.found], models, **settings)
    if found.commits is not None:
        rows += score_files(found.commits, models, **settings)
    at = f" at {found.commit[:12]}" if found.commit else ""
    print(f"{found.name}{at}\n\n{score_table(rows)}\n")
    print("\n".join(found.notes))
    path = out_folder(arguments) / f"repository__{found.name.replace('/', '__')}.json"
    about = {"repository": found.name, "commit": found.commit, "notes": list(found.notes)}
    write_results(path, rows, benchmark=f"the repository {found.name}", command=written_command(), more=about)
    print(f"\n{time.perf_counter() - started:.0f} s, wrote {path}")


def _unless_impossible(make: Callable[[], _T], notes: list[str]) -> _T | None:
    """What `make` gives, or None with its reason in the notes: a repository may have one set only."""
    try:
        return make()
    except ValueError as error:
        notes.append(f"Not measured: {error}")
        return None


def _about_functions(found: "FunctionSet | None") -> list[str]:
    if found is None:
        return []
    queries, documents = len(found.found.queries), len(found.found.documents)
    chosen = f" of the {found.docstrings:,}" if found.docstrings > queries else ""
    of_all = "all" if documents == found.functions else f"{documents:,} of all"
    return [
        f"functions: {queries:,}{chosen} docstrings of held-out files, which `codequarry mine` keeps out of "
        f"training, searched in {of_all} {found.functions:,} functions without their docstrings.",
        *_too_few("functions", queries),
    ]


def _about_commits(found: "CommitSet | None") -> list[str]:
    if found is None:
        return []
    queries = len(found.found.queries)
    files = int(statistics.median(map(len, found.found.candidates.values())))
    kept = ""
    if found.files_kept < found.files:
        kept = f" ({found.files_kept:,} of all {found.files:,}: --documents takes in more, which is harder)"
    return [
        f"commits: {queries:,} messages, {found.oldest} to {found.newest}, searched in the {files:,} "
        f"source files (median) before the commit{kept}, each as near as its best passage; "
        f"{found.naming:.0%} name a file they changed. "
        "`codequarry mine --split time` keeps the newest commits out of training.",
        *_too_few("commits", queries),
    ]


def _too_few(name: str, queries: int) -> list[str]:
    if queries >= FEW:
        return []
    return [f"{name}: {queries} queries are too few to tell models apart; mind the interval."]
