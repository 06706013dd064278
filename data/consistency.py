"""Which pairs agree with a model: the rank of each pair's document among others for its query.

    rank = 1 + |{d : cos(q, d) > cos(q, d⁺)}|, over the documents of other queries of the same source and task

A pair whose own document a fair model does not find among the first is often no pair (consistency filter of
Promptagator, arXiv 2209.11755, and of E5, arXiv 2212.03533). One found first, far ahead, teaches little.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from codequarry.common.errors import UserError
from codequarry.common.tables import text_table
from codequarry.data.deduplication import tokens
from codequarry.data.pair import Pair
from codequarry.modules.tasks import Side, prompt_name

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

AMONG = 1_000  # documents: the same number for every source, since a rank among more is a worse one
_BATCH = 64  # texts per forward pass
_QUERIES_AT_ONCE = 1_024  # rows of the similarity matrix: 4 MB against 1,000 documents


def document_ranks(
    pairs: Sequence[Pair],
    model: "SentenceTransformer",
    *,
    among: int = AMONG,
) -> list[int]:
    """The rank of each pair's document for its query, 1 for the nearest, in the order of the pairs.

    It is compared with documents of the same source and task, chosen by the hash of their text. Documents of
    queries with the same words, and repeats of the document itself, are right too and do not count.

    Arguments:
        model: any `SentenceTransformer`; both sides get its own prompts for the pair's task, or its plain
            `query` and `document` prompts where it has none by task.
        among: documents that each is compared with, at most; smaller sources have fewer.

    Raises UserError for `among` below 1.

    >>> document_ranks(pairs, codequarry.load("mini"))  # doctest: +SKIP
    [1, 3, 412]
    """
    if among < 1:
        raise UserError(f"among = {among}: compare with at least one document.")
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for position, pair in enumerate(pairs):
        groups[pair.task, pair.source].append(position)
    ranks = [1] * len(pairs)
    with tqdm(total=len(pairs), desc="ranking", unit="pair", delay=2, leave=False) as bar:
        for (task, _), positions in groups.items():
            group = [pairs[position] for position in positions]
            for position, rank in zip(positions, _group_ranks(group, model, task, among), strict=True):
                ranks[position] = rank
            bar.update(len(positions))
    return ranks


def consistency_table(pairs: Sequence[Pair], ranks: Sequence[int], first: int, last: int) -> str:
    """A line per source and task: its pairs, and the shares at rank 1, within and behind the kept ranks.

    Arguments: `ranks`, of `document_ranks`; `first`, `last`, of the ranks that are kept.
    """
    of: dict[tuple[str, str], list[int]] = defaultdict(list)
    for pair, rank in zip(pairs, ranks, strict=True):
        of[pair.source, pair.task].append(rank)
    lines = [["source", "task", "pairs", "rank 1", f"{first} to {last}", f"above {last}"]]
    for (source, task), found in sorted(of.items()):
        counts = (
            sum(rank == 1 for rank in found),
            sum(first <= rank <= last for rank in found),
            sum(rank > last for rank in found),
        )
        lines.append([source, task, f"{len(found):,}", *(f"{count / len(found):.0%}" for count in counts)])
    return text_table(lines, right=range(2, len(lines[0])), rule=True)


def _group_ranks(pairs: Sequence[Pair], model: "SentenceTransformer", task: str, among: int) -> list[int]:
    """The ranks within one source and task."""
    documents = list(dict.fromkeys(pair.document for pair in pairs))
    right: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for pair in pairs:
        right[tuple(tokens(pair.query))].add(pair.document)
    compared = sorted(documents, key=lambda text: hashlib.sha256(text.encode()).digest())[:among]
    column = {text: number for number, text in enumerate(compared)}

    def embed(texts: list[str], side: Side) -> NDArray[np.float32]:
        prompt = model.prompts.get(prompt_name(task, side))
        by_side = model.encode_query if side == "query" else model.encode_document
        return np.asarray(
            by_side(
                texts,
                prompt=prompt,
                batch_size=_BATCH,
                normalize_embeddings=True,
                show_progress_bar=False,
            ),
            np.float32,
        )

    row = {text: number for number, text in enumerate(documents)}
    vectors = embed(documents, "document")
    others = vectors[[row[text] for text in compared]]
    ranks: list[int] = []
    for start in range(0, len(pairs), _QUERIES_AT_ONCE):
        part = pairs[start : start + _QUERIES_AT_ONCE]
        queries = embed([pair.query for pair in part], "query")
        own = np.einsum("qd,qd->q", queries, vectors[[row[pair.document] for pair in part]])
        scores = queries @ others.T
        for number, pair in enumerate(part):
            known = right[tuple(tokens(pair.query))]
            scores[number, [column[text] for text in known if text in column]] = -np.inf
        ranks += (1 + (scores > own[:, None]).sum(1)).tolist()
    return ranks
