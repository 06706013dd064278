"""InfoNCE in which single entries can be struck out.

sentence-transformers' `MultipleNegativesRankingLoss` has the directions, partitions and hardness weights, and
no masks. It asks its similarity function once a direction, always in the same order, so a similarity that is
minus infinity at the struck entries is all that is missing: their share of the softmax is 0, and so is their
gradient. That keeps one implementation of the rest.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.util import cos_sim
from torch import Tensor

from codequarry.modules.losses import DIRECTIONS, Direction


class InfoNCE(MultipleNegativesRankingLoss):
    """`MultipleNegativesRankingLoss` on embeddings of a whole batch, some entries left out.

        loss = mean_i  log Σ_k exp(cos(i, k) / temperature)  -  cos(i, i) / temperature

    over the k that are not struck out (van den Oord et al. 2018, arXiv 1807.03748). Arguments: as in
    sentence-transformers, where `scale` is 1 / temperature.
    """

    def loss_from_embeddings(
        self, embeddings: Sequence[Tensor], struck: Mapping[Direction, Tensor]
    ) -> Tensor:
        """The loss, a scalar.

        Arguments:
            embeddings: query, document and mined negatives, `(pairs, dim)` each.
            struck: masks as `false_negative_mask` makes them, for every direction of this loss; {} for none.
        """
        self.similarity_fct = cos_sim
        if struck:
            asked = [name for name in DIRECTIONS if name in self.directions]
            # Its rows are this pair's where a query is compared, and columns where a document is.
            self.similarity_fct = _striking(
                [struck[name] if name.startswith("query") else struck[name].T for name in asked]
            )
        loss: Tensor = self.compute_loss_from_embeddings(list(embeddings), None)  # type: ignore[arg-type]
        return loss


def _striking(masks: Sequence[Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Cosine similarity whose n-th call is minus infinity where the n-th mask is set."""
    remaining = iter(masks)

    def similarity(rows: Tensor, columns: Tensor) -> Tensor:
        return cos_sim(rows, columns).masked_fill(next(remaining), -torch.inf)

    return similarity
