"""The one training objective: InfoNCE at every Matryoshka size, spread-out term, embedding matching."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from sentence_transformers.sentence_transformer.losses import (
    EmbedDistillLoss,
    GlobalOrthogonalRegularizationLoss,
)
from sentence_transformers.sentence_transformer.losses.matryoshka import shrink
from sentence_transformers.util import all_gather, get_world_size
from torch import Tensor, nn

from codequarry.common.errors import UserError
from codequarry.modules.losses import Direction, Hardness, Partition
from codequarry.modules.losses.grad_cache import Features, MiniBatchLoss
from codequarry.modules.losses.info_nce import InfoNCE, false_negative_mask


class Objective(MiniBatchLoss):
    """Learn to find the document of a query among all documents of the step.

        Σ_dims [ InfoNCE + spread_out · GOR ]  +  matching · mean (1 - cos(vector, teacher's vector))

    on vectors cut to each of `dims` and made unit length again (Matryoshka, arXiv 2205.13147). GOR is what
    the second moment of the cosines within a column has above 1/dim, queries and positives added (arXiv
    1708.06320); that it counts at every size and matching at the full one only is EmbeddingGemma's (arXiv
    2509.20354). It equals `MatryoshkaLoss(CachedMultipleNegativesRankingLoss)` without the last two terms and
    the masks.

    Every rank gathers all embeddings and computes the loss of the whole step, so the gradient does not
    depend on the number of ranks; only embeddings travel, never activations. Every rank has as many pairs.
    All of it is computed in float32 at least, also under autocast.

    Arguments:
        model: a `SentenceTransformer`, or what a trainer wraps around it.
        temperature: divides the cosine similarity.
        dims: dimensions that are trained, the full size among them.
        mini_batch_tokens, grad_cache_threshold: see `MiniBatchLoss`.
        directions, partition, hardness: see `codequarry.modules.losses`.
        hardness_strength: a wrong document's logit is raised by this times its cosine; 0 for none.
        spread_out: weight of GOR; 0 leaves it out.
        same_query, same_document, margin: what is no negative, see `false_negative_mask`. The margin is
            judged once, at full size.
        matching: weight of the matching term at the start; None leaves it out and needs no teacher.
        final_matching: its weight at the end, straight between the two; None: as at the start.

    masks_right_documents: a document, mined negatives included, is no negative where it is right for the
        query; then negatives may repeat texts of other pairs of the batch.
    progress: share of the run that is done, 0 to 1; the trainer sets it before a step.
    last_terms: what each term added to the last loss, as tensors without gradient; they sum to it.

    The batch: columns `query`, `document` and any number of mined negatives, tokenised, padded on the right
    or packed. As well as the model's input a column holds `text_id (pairs,)`, equal for equal texts, where a
    `same_…` is on, and `teacher (pairs, dim)` where matching is. Returns a scalar.

    Raises UserError for a single column, and where one of the two is missing or does not fit.

    >>> loss = Objective(model, temperature=0.05, dims=(384, 128), mini_batch_tokens=8192)
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        temperature: float,
        dims: Sequence[int],
        mini_batch_tokens: int,
        grad_cache_threshold: int | None = 0,
        directions: Sequence[Direction] = ("query_to_doc",),
        partition: Partition = "joint",
        hardness: Hardness = "none",
        hardness_strength: float = 0.0,
        spread_out: float = 0.0,
        same_query: bool = True,
        same_document: bool = True,
        margin: float | None = None,
        matching: float | None = None,
        final_matching: float | None = None,
    ) -> None:
        super().__init__(
            model, mini_batch_tokens=mini_batch_tokens, grad_cache_threshold=grad_cache_threshold
        )
        stock: Any = model  # the stock losses keep the model and, handed embeddings, never call it
        self.info_nce = InfoNCE(
            stock,
            scale=1 / temperature,
            directions=tuple(directions),
            partition_mode=partition,
            hardness_mode=None if hardness == "none" else hardness,
            hardness_strength=hardness_strength,
        )
        self.gor = GlobalOrthogonalRegularizationLoss(stock, mean_weight=0.0, aggregation="sum")
        self.distil = EmbedDistillLoss(stock, distance_metric="cosine")
        self.dims = tuple(dims)
        self.spread_out = spread_out
        self.same_query, self.same_document, self.margin = same_query, same_document, margin
        self.matching = matching
        self.final_matching = matching if final_matching is None else final_matching
        self.masks_right_documents = same_document
        self.progress = 0.0
        self.last_terms: dict[str, Tensor] = {}

    def forward(self, sentence_features: Iterable[Features], labels: Any = None) -> Tensor:
        """The loss of one batch; `labels` is what sentence-transformers' trainer passes, and not used."""
        features = list(sentence_features)
        if len(features) < 2:
            raise UserError(f"{len(features)} column of texts: at least a query and a document are needed.")
        text_ids = teachers = None
        if self.same_query or self.same_document:
            why = "same_query and same_document compare texts by it: use PairCollator, or switch both off"
            text_ids = _gathered(_values(features, "text_id", why))
        if self.matching is not None:
            why = "matching compares with it: store the teacher's vectors, or leave matching out"
            teachers = _values(features, "teacher", why)
        columns = [
            {name: value for name, value in column.items() if name not in ("text_id", "teacher")}
            for column in features
        ]
        return self.compute_loss(columns, (text_ids, teachers))

    def loss_from_embeddings(
        self, embeddings: list[Tensor], known: tuple[list[Tensor] | None, list[Tensor] | None]
    ) -> Tensor:
        """The loss from one `(pairs, dim)` tensor per column.

        Arguments: `known`, text ids of all ranks and the teacher's vectors of this one, per column each.
        """
        text_ids, teachers = known
        with torch.autocast(embeddings[0].device.type, enabled=False):
            terms = self._contrastive(_gathered(embeddings), text_ids)
            if self.matching is not None and self.final_matching is not None and teachers is not None:
                size, theirs = embeddings[0].shape[-1], teachers[0].shape[-1]
                if theirs != size:
                    raise UserError(
                        f"the teacher's vectors have {theirs} dimensions and the model's {size}: "
                        "choose a teacher whose vectors are as long."
                    )
                weight = self.matching + (self.final_matching - self.matching) * self.progress
                distil: Tensor = self.distil.compute_loss_from_embeddings(embeddings, teachers)
                terms["matching"] = weight * distil
            self.last_terms = {name: term.detach() for name, term in terms.items()}
            return torch.stack(list(terms.values())).sum()

    def _contrastive(self, embeddings: list[Tensor], text_ids: list[Tensor] | None) -> dict[str, Tensor]:
        masks = false_negative_mask(
            embeddings,
            text_ids,
            directions=self.info_nce.directions,
            same_query=self.same_query,
            same_document=self.same_document,
            margin=self.margin,
        )
        info_nce, spread_out = [], []
        for dim in self.dims:
            cut = [shrink(column, dim) for column in embeddings]
            info_nce.append(self.info_nce.loss_from_embeddings(cut, masks))
            if self.spread_out:
                gor = self.gor.compute_loss_from_embeddings(cut[:2])["gor_second_moment"]
                spread_out.append(self.spread_out * gor)
        terms = {"info_nce": info_nce, "spread_out": spread_out}
        return {name: torch.stack(sizes).sum() for name, sizes in terms.items() if sizes}


def _values(features: list[Features], name: str, why: str) -> list[Tensor]:
    """`name` of every column. Raises UserError, with `why` it is needed, where one has none."""
    if without := [str(number) for number, column in enumerate(features) if name not in column]:
        raise UserError(f"column {', '.join(without)} of the batch brings no {name!r}; {why}.")
    return [column[name] for column in features]


def _gathered(columns: list[Tensor]) -> list[Tensor]:
    """The columns of all ranks, in the order of ranks; this rank's own rows keep their gradient.

    All ranks compute the same loss from the same numbers, so what the other ranks would send back for these
    rows is what this one finds itself: it is multiplied instead of sent. DDP then takes the mean over ranks.
    """
    ranks = get_world_size()
    if ranks == 1:
        return columns
    gathered = []
    for column in columns:
        own = column.view_as(column)  # the hook must not reach other uses of the column
        if own.requires_grad:
            own.register_hook(lambda gradient: gradient * ranks)  # type: ignore[no-untyped-call]
        gathered.append(all_gather(own))
    return gathered
