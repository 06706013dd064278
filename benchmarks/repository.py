"""A benchmark on your own repository: what was mined from it and kept out of training is asked of the models.

    codequarry benchmark mini all-MiniLM-L6-v2 --repo path/to/checkout
    codequarry benchmark mini --repo pallets/click --queries 50

Two sets: docstring → function over all functions, and commit message → the files it changed.
"""

import hashlib
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from codequarry.benchmarks.commit_retrieval import TASK, CommitSet, commit_set
from codequarry.common.errors import UserError
from codequarry.data.eval_set import EvalSet
from codequarry.data.mining.checkout import Tree, open_tree
from codequarry.data.mining.filters import query_of
from codequarry.data.mining.mine import mine
from codequarry.data.parsing.parse import read_tree
from codequarry.data.parsing.source_report import EVERYTHING, Choice, LeftOut, SourceReport

FEW = 10  # queries; fewer say hardly anything

QUERIES, DOCUMENTS = 100, 8_000  # about three minutes for MiniLM on two cores


@dataclass(frozen=True)
class OwnSets:
    """What a repository can be asked, and in `notes` what a reader of the scores should know.

    commit: whose files these are; None for a folder read as it lies.
    functions, commits: None where there is none, and a note says why.
    """

    name: str
    commit: str | None
    functions: "FunctionSet | None"
    commits: CommitSet | None
    notes: tuple[str, ...]


def own_sets(
    where: str,
    *,
    queries: int = QUERIES,
    documents: int = DOCUMENTS,
    mirrors: Path | None = None,
    choice: Choice = EVERYTHING,
    progress: bool = True,
) -> OwnSets:
    """The two sets of a repository.

    Arguments:
        where: a checkout, a bare clone, a plain folder, `owner/name` on GitHub, or a URL.
        queries: of each set at most.
        documents: functions, and passages of files, at most.
        mirrors: as in `open_repository`.
        choice: as in `list_sources`.

    Raises UserError where there is no such place, or where it gives not a single query.
    """
    for name, most in (("queries", queries), ("documents", documents)):
        if most < 1:
            raise UserError(f"{name} is {most}: pass 1 or more.")
    notes: list[str] = []
    functions = commits = None
    with open_tree(where, mirrors=mirrors) as tree:
        try:
            functions = function_set(
                where,
                tree,
                "functions",
                queries=queries,
                documents=documents,
                mirrors=mirrors,
                choice=choice,
                progress=progress,
            )
        except UserError as error:  # a repository may have one set only
            notes.append(f"Not measured: {error}")
        if tree.history is None:
            why = tree.trouble or f"{tree.name} is no git repository, or has no commit."
            notes.append(f"commit message → files: not measured. {why}")
        else:
            repository, newest = tree.history
            try:
                commits = commit_set(
                    repository,
                    "commits",
                    newest=newest,
                    queries=queries,
                    passages=documents,
                    progress=progress,
                )
            except UserError as error:
                notes.append(f"Not measured: {error}")
        if functions is None and commits is None:
            raise UserError(f"{tree.name} cannot be asked anything. {' '.join(notes)}")
        notes = [*_about_functions(functions), *_about_commits(commits), *notes]
        return OwnSets(tree.name, tree.commit, functions, commits, tuple(notes))


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


def _about_commits(found: CommitSet | None) -> list[str]:
    if found is None:
        return []
    queries = len(found.found.queries)
    files = int(statistics.median(map(len, found.found.candidates.values())))
    kept = ""
    if found.files_kept < found.files:
        kept = f" ({found.files_kept:,} of all {found.files:,}: --documents takes in more, which is harder)"
    absent = f" {found.absent:,} versions of files are not in the clone." if found.absent else ""
    return [
        f"commits: {queries:,} messages, {found.oldest} to {found.newest}, searched in the {files:,} "
        f"source files (median) before the commit{kept}, each as near as its best passage; "
        f"{found.naming:.0%} name a file they changed. "
        "`codequarry mine --split time` keeps the newest commits out of training."
        f"{absent}",
        *_too_few("commits", queries),
    ]


def _too_few(name: str, queries: int) -> list[str]:
    if queries >= FEW:
        return []
    counted = "1 query is" if queries == 1 else f"{queries} queries are"
    return [f"{name}: {counted} too few to tell models apart; mind the interval."]


@dataclass(frozen=True)
class FunctionSet:
    """The set, and what was left out of it to stay within a few minutes.

    found: queries by number, documents by `path:line` of their first line.
    docstrings: of held-out files, that could be queries.
    functions: different ones of the repository, docstrings taken out.
    left_out: files and folders that were not read.
    """

    found: EvalSet
    docstrings: int
    functions: int
    left_out: tuple[LeftOut, ...] = ()


def function_set(
    where: str,
    tree: Tree,
    name: str,
    *,
    queries: int = QUERIES,
    documents: int = DOCUMENTS,
    mirrors: Path | None = None,
    choice: Choice = EVERYTHING,
    progress: bool = True,
) -> FunctionSet:
    """The docstrings that `codequarry mine` holds out of training, as queries for their functions.

    Arguments:
        where: what `tree` was opened from.
        queries: how many at most, chosen by a hash of their text.
        documents: how many functions at most; those that answer a query stay, the others go by a hash.
        mirrors: as in `open_repository`.
        choice: as in `list_sources`.

    Functions under one docstring all answer it. Equal functions are one document.

    Raises UserError where no function of a held-out file has a docstring that says something.
    """
    mined = mine(
        [where],
        kinds=["docstring"],
        mirrors=mirrors,
        commit=tree.commit,
        include=choice.include,
        exclude=choice.exclude,
        progress=progress,
    )
    pairs = mined.by_kind["heldout"]["docstring"]
    places: dict[str, str] = {}  # by text of the function
    answers: dict[str, list[str]] = {}  # by docstring
    report = SourceReport()
    for source in read_tree(tree.folder, report, progress, choice, tracked=tree.commit is not None):
        for definition in source.definitions:
            if definition.kind != "class" and definition.bare_code.strip():
                place = places.setdefault(definition.bare_code, f"{source.path}:{definition.start_line}")
                answers.setdefault(query_of(definition.comment), []).append(place)
    languages = {pair.query: pair.language for pair in pairs if pair.document in places}
    if not languages:
        raise UserError(
            f"{tree.name} has no docstring to ask with: {len(places):,} functions were read, and no one in a "
            "held-out file has a docstring or a comment above it that says what it does."
        )
    asked = _chosen(languages, queries)
    right = {place for query in asked for place in answers[query]}
    others = _chosen(set(places.values()) - right, documents - len(right))
    kept = right | set(others)
    corpus = {place: text for text, place in places.items() if place in kept}
    ids = {query: f"q{number}" for number, query in enumerate(asked)}
    found = EvalSet(
        name,
        TASK,
        {ids[query]: query for query in asked},
        corpus,
        {ids[query]: dict.fromkeys(answers[query], 1) for query in asked},
        {ids[query]: languages[query] for query in asked},
    )
    return FunctionSet(found, len(languages), len(places), tuple(report.left_out))


def _chosen(texts: Iterable[str], most: int) -> list[str]:
    """At most so many of the texts, by a hash, so that they stay the same when others come and go."""
    return sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())[: max(0, most)]
