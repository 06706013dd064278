"""Docstring → function: the docstrings of held-out files, searched in all functions of the repository."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from codequarry.data.eval_set import EvalSet
from codequarry.data.mining.comment_query import query_of
from codequarry.data.mining.mine import mine
from codequarry.data.mining.trees import Tree
from codequarry.data.syntax import SourceReport, read_tree

TASK = "nl2code"


@dataclass(frozen=True)
class FunctionSet:
    """The set, and what was left out of it to stay within a few minutes.

    found: queries by number, documents by `path:line` of their first line.
    docstrings: of held-out files, that could be queries.
    functions: different ones of the repository, docstrings taken out.
    """

    found: EvalSet
    docstrings: int
    functions: int


def function_set(
    where: str,
    tree: Tree,
    name: str,
    *,
    queries: int = 100,
    documents: int = 8_000,
    mirrors: Path | None = None,
    progress: bool = True,
) -> FunctionSet:
    """The docstrings that `codequarry mine` holds out of training, as queries for their functions.

    Arguments:
        where: what `tree` was opened from.
        queries: how many at most, chosen by a hash of their text.
        documents: how many functions at most; those that answer a query stay, the others go by a hash.
        mirrors: as in `open_repository`.

    Functions under one docstring all answer it. Equal functions are one document.

    Raises ValueError where no function of a held-out file has a docstring that says something.
    """
    mined = mine([where], kinds=["docstring"], mirrors=mirrors, commit=tree.commit, progress=progress)
    pairs = mined.by_kind["heldout"]["docstring"]
    places: dict[str, str] = {}  # by text of the function
    answers: dict[str, list[str]] = {}  # by docstring
    for source in read_tree(tree.folder, SourceReport(), progress):
        for definition in source.definitions:
            if definition.kind != "class" and definition.bare_code.strip():
                place = places.setdefault(definition.bare_code, f"{source.path}:{definition.start_line}")
                answers.setdefault(query_of(definition.comment), []).append(place)
    languages = {pair.query: pair.language for pair in pairs if pair.document in places}
    if not languages:
        raise ValueError(
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
    return FunctionSet(found, docstrings=len(languages), functions=len(places))


def _chosen(texts: Iterable[str], most: int) -> list[str]:
    """At most so many of the texts, by a hash, so that they stay the same when others come and go."""
    return sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())[: max(0, most)]
