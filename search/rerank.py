"""The third stage: the strong model embeds the candidates and ranks them by its own similarity.

Vectors are kept in the store that all checkouts share, so a candidate is embedded once. Chunks whose vectors
are there already compete too, the best of them by the model itself: the more a checkout is searched, the less
depends on the first stage.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from codequarry.inference.encoder import Encoder, TaskModel, Vectors
from codequarry.search.chunk import Chunk, Kind
from codequarry.search.first_stage import best_first
from codequarry.search.fusion import WEIGHTS, Scores, fuse
from codequarry.search.index import read_hashes, read_texts
from codequarry.search.vector_store import VectorStore

CANDIDATES = 64  # chunks; two to three seconds of mini on two cores
GROUP = 64  # texts per transaction: what a kill can lose


@dataclass(frozen=True, slots=True)
class Reranked:
    """Places of chunks with their scores, best first; how many texts were embedded for it, or known."""

    ranked: tuple[tuple[int, float], ...] = ()
    embedded: int = 0
    reused: int = 0


def rerank(
    query: str,
    task: str,
    model: TaskModel,
    store: VectorStore,
    hashes: Sequence[bytes],
    scores: Scores,
    candidates: Mapping[int, Chunk],
) -> Reranked:
    """The candidates, and as many chunks whose vectors are stored, by the model with a share of `scores`.

    Arguments:
        store: of the model's space for `task`.
        hashes, scores: of every chunk, the sha256 of its text and its score in the second stage.
        candidates: by place among those.
    """
    encoder = Encoder(model)
    space = encoder.space(task)
    query_D = encoder.encode_query(query, task, space)
    known = store.vectors(store.hashes(set(hashes)))
    texts = {hashes[place]: chunk.text for place, chunk in candidates.items()}
    missing = {sha256: text for sha256, text in texts.items() if sha256 not in known}
    if missing:
        made = encoder.encode_documents(list(missing.values()), space)
        new = dict(zip(missing, made, strict=True))
        store.add(new)
        known |= new
    places = sorted({*candidates, *_best_known(query_D, hashes, known, len(candidates))})
    similarity = np.stack([known[hashes[place]] for place in places]) @ query_D
    fused = fuse(similarity, scores[places], WEIGHTS[task].second)
    ranked = tuple((places[row], float(fused[row])) for row in best_first(fused))
    return Reranked(ranked, len(missing), len(texts) - len(missing))


def _best_known(
    query_D: Vectors, hashes: Sequence[bytes], known: Mapping[bytes, Vectors], most: int
) -> list[int]:
    """The places of at most so many chunks with a stored vector, the nearest to the query."""
    places = [place for place, sha256 in enumerate(hashes) if sha256 in known]
    if not places:
        return []
    similarity = np.stack([known[hashes[place]] for place in places]) @ query_D
    return [places[row] for row in best_first(similarity)[:most]]


def embed_everything(
    connection: sqlite3.Connection,
    store: VectorStore,
    kind: Kind,
    model: TaskModel,
    task: str,
    progress: bool,
) -> int:
    """Embed every text of a kind that has no vector yet; returns how many these were.

    Two processes may do this at once: each skips what the other has stored by then.
    """
    encoder = Encoder(model)
    space = encoder.space(task)
    texts = read_texts(connection, kind)
    stored = store.hashes(set(texts))
    # Neighbours of one length need no padding; longest first, so the time left is never underestimated.
    missing = sorted(texts.keys() - stored, key=lambda sha256: (-len(texts[sha256]), sha256))
    embedded = 0
    with tqdm(
        total=len(missing), desc=f"embedding {kind}", unit=" texts", disable=not (progress and missing)
    ) as bar:
        for start in range(0, len(missing), GROUP):
            group = missing[start : start + GROUP]
            others = store.hashes(group)
            todo = [sha256 for sha256 in group if sha256 not in others]
            if todo:
                made = encoder.encode_documents([texts[sha256] for sha256 in todo], space)
                store.add(dict(zip(todo, made, strict=True)))
            embedded += len(todo)
            bar.update(len(group))
    return embedded


def score_everything(
    connection: sqlite3.Connection, store: VectorStore, kind: Kind, model: TaskModel, query: str, task: str
) -> tuple[tuple[int, ...], Scores, int]:
    """Rows and cosine similarities of a kind's chunks that have a vector, and how many texts these have."""
    encoder = Encoder(model)
    query_D = encoder.encode_query(query, task, encoder.space(task))
    ids, hashes = read_hashes(connection, kind)
    known = store.vectors(set(hashes))
    kept = [(row, known[sha256]) for row, sha256 in zip(ids, hashes, strict=True) if sha256 in known]
    if not kept:
        return (), np.zeros(0, np.float32), 0
    return tuple(row for row, _ in kept), np.stack([vector for _, vector in kept]) @ query_D, len(known)
