"""Find the entries of a batch that InfoNCE would call wrong although they are right, or may be.

In-batch negatives are other pairs' texts. Where a data set repeats a question or an answer (Rosetta and
LeetCode hold one problem in many solutions), some of them are right, and a model that is punished for
finding them unlearns what it should learn. EmbeddingGemma (arXiv 2509.20354) leaves such pairs out;
Qwen3-Embedding (arXiv 2506.05176) also leaves out whatever lies nearer than the positive by 0.1.

Legend: P pairs, N documents (the P positives first, then P of each mined negative).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from codequarry.modules.losses import Direction


def false_negative_mask(
    embeddings: Sequence[Tensor],
    text_ids: Sequence[Tensor] | None,
    *,
    directions: Sequence[Direction],
    same_query: bool,
    same_document: bool,
    margin: float | None,
) -> dict[Direction, Tensor]:
    """The entries that take no part in the softmax, one row a pair; a pair's own positive is never one.

    A document is right for a query when some pair of the batch says so: `same_query` reads a pair as said
    of every query with the same text, `same_document` as said of every document with the same text, mined
    negatives included. Then, for pair i, a document is struck out when it is right for query i, and another
    query when document i is right for it too. `margin` strikes out what lies nearer than the positive does.

    Arguments:
        embeddings: query, document and mined negatives of the whole batch, `(P, dim)` each; for `margin`.
        text_ids: whole numbers `(P,)`, one column each; equal texts have equal ones. For the two `same_…`.
        directions: those that are asked for.
        margin: of cosine. An entry is struck out when its cosine is above the positive's less this. 0
            strikes out what is nearer than the positive, -0.1 what is nearer by 0.1; None strikes out
            nothing.

    Returns masks by direction: `(P, N)` towards documents, `(P, P)` towards queries; no mask at all where
    nothing is asked for.
    """
    struck: dict[Direction, Tensor] = {}
    if same_query or same_document:
        assert text_ids is not None
        right_PN = _right(text_ids, same_query, same_document)
        pairs = len(right_PN)
        documents_PN = _without_own(right_PN)
        queries_PP = _without_own(right_PN[:, :pairs].T)
        struck = {name: documents_PN if name.endswith("doc") else queries_PP for name in directions}
    if margin is not None:
        near = _nearer_than_the_positive(embeddings, directions, margin)
        struck = {name: struck[name] | mask if name in struck else mask for name, mask in near.items()}
    return struck


def _right(text_ids: Sequence[Tensor], same_query: bool, same_document: bool) -> Tensor:
    """Which document is right for which query, `(P, N)`, the own positive included."""
    queries_P, positives_P, documents_N = text_ids[0], text_ids[1], torch.cat(list(text_ids[1:]))
    own_PN = torch.eye(len(queries_P), len(documents_N), dtype=torch.bool, device=queries_P.device)
    alike_PP = queries_P[:, None] == queries_P if same_query else own_PN[:, : len(queries_P)]
    alike_PN = positives_P[:, None] == documents_N if same_document else own_PN
    return alike_PP.float() @ alike_PN.float() > 0  # some pair j: query j is query i, its document is k


def _nearer_than_the_positive(
    embeddings: Sequence[Tensor], directions: Sequence[Direction], margin: float
) -> dict[Direction, Tensor]:
    with torch.no_grad():
        queries, positives, *_ = unit = [F.normalize(column, dim=-1) for column in embeddings]
        documents = torch.cat(unit[1:])
        limit = (queries * positives).sum(dim=-1, keepdim=True) - margin  # (P, 1)
        near: dict[Direction, Tensor] = {}
        for name in directions:
            own = queries if name.startswith("query") else positives
            others = documents if name.endswith("doc") else queries
            near[name] = _without_own(own @ others.T > limit)
        return near


def _without_own(mask: Tensor) -> Tensor:
    return mask & ~torch.eye(*mask.shape, dtype=torch.bool, device=mask.device)
