"""InfoNCE over a batch, without the entries that it would call wrong although they are right, or may be.

In-batch negatives are other pairs' texts. Where a data set repeats a question or an answer (Rosetta and
LeetCode hold one problem in many solutions), some of them are right, and a model that is punished for
finding them unlearns what it should learn. EmbeddingGemma (arXiv 2509.20354) masks such pairs;
Qwen3-Embedding (arXiv 2506.05176) also masks whatever lies nearer than the positive by 0.1.

sentence-transformers' `MultipleNegativesRankingLoss` has the directions, partitions and hardness weights, and
no masks. It calls its similarity function once per direction, always in the same order, so a similarity that
is minus infinity at the masked entries is all that is missing: their share of the softmax is 0, and so is
their gradient.

Legend: P pairs, N documents (the P positives first, then P of each mined negative).
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.util import cos_sim
from torch import Tensor

from codequarry.modules.losses import DIRECTIONS, Direction


class InfoNCE(MultipleNegativesRankingLoss):
    """`MultipleNegativesRankingLoss` on embeddings of a whole batch, some entries masked.

        loss = mean_i  log Σ_k exp(cos(i, k) / temperature)  -  cos(i, i) / temperature

    over the k that are not masked (van den Oord et al. 2018, arXiv 1807.03748). Arguments: as in
    sentence-transformers, where `scale` is 1 / temperature.
    """

    def loss_from_embeddings(self, embeddings: Sequence[Tensor], masks: Mapping[Direction, Tensor]) -> Tensor:
        """The loss, a scalar.

        Arguments:
            embeddings: query, document and mined negatives, `(P, dim)` each.
            masks: from `false_negative_mask`, for every direction of this loss; {} for none.
        """
        # A mask's rows are the pair's where a query is compared, and columns where a document is.
        remaining = iter(
            [
                masks[name] if name.startswith("query") else masks[name].T
                for name in DIRECTIONS
                if masks and name in self.directions
            ]
        )

        def masked(rows: Tensor, columns: Tensor) -> Tensor:
            return cos_sim(rows, columns).masked_fill(next(remaining), -torch.inf)

        self.similarity_fct = masked if masks else cos_sim
        loss: Tensor = self.compute_loss_from_embeddings(list(embeddings), None)  # type: ignore[arg-type]
        return loss


def false_negative_mask(
    embeddings: Sequence[Tensor],
    text_ids: Sequence[Tensor] | None,
    *,
    directions: Sequence[Direction],
    same_query: bool,
    same_document: bool,
    margin: float | None,
) -> dict[Direction, Tensor]:
    """The entries that take no part in the softmax, one row per pair; a pair's own positive is never one.

    A document is right for a query when some pair of the batch says so: `same_query` reads a pair as said
    of every query with the same text, `same_document` as said of every document with the same text, mined
    negatives included. Then, for pair i, a document is masked when it is right for query i, and another
    query when document i is right for it too. `margin` masks what lies nearer than the positive does.

    Arguments:
        embeddings: query, document and mined negatives of the whole batch, `(P, dim)` each; for `margin`.
        text_ids: integers `(P,)` per column, equal for equal texts. For the two `same_…`.
        directions: those of the loss.
        margin: of cosine. An entry is masked when its cosine is above the positive's less this: 0 masks what
            is nearer than the positive, -0.1 what is nearer by 0.1; None masks nothing.

    Returns masks by direction: `(P, N)` towards documents, `(P, P)` towards queries; {} with all three off.
    """
    masks: dict[Direction, Tensor] = {}
    if same_query or same_document:
        assert text_ids is not None
        right_PN = _right(text_ids, same_query, same_document)
        pairs = len(right_PN)
        documents_PN = _without_own(right_PN)
        queries_PP = _without_own(right_PN[:, :pairs].T)
        masks = {name: documents_PN if name.endswith("doc") else queries_PP for name in directions}
    if margin is not None:
        near = _nearer_than_the_positive(embeddings, directions, margin)
        masks = {name: masks[name] | mask if name in masks else mask for name, mask in near.items()}
    return masks


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
