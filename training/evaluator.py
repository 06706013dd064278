"""nDCG@10 of held-out pairs while a model trains: each query among the documents of its task."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from codequarry.common.errors import UserError
from codequarry.recipes.schema import MEAN, score_name

_CUT = 10  # documents that count, as in all our scores


class ValidationScores(SentenceEvaluator):
    """Score a model on pairs, task by task, with the prefixes of both sides.

    A query's documents are those of every pair with the same query; all other documents of the task, and all
    negatives, are wrong ones. Each text is embedded once, and the vectors are truncated to `dims`. The model
    runs in the trainer's precision; several ranks share the work.

    Arguments:
        pairs: query, document and negatives of each pair, without prefixes, by task.
        dims: truncated dimensions, scored as well as whole vectors.
        metric: the score that decides (`score_names`).
        batch_size: texts per forward pass.

    Returns, when called, the scores by name, between 0 and 1, and leaves the model in the mode it was in.
    The same model gives the same scores.

    Raises UserError for no pairs, and for a metric that these pairs and dims do not give.

    >>> ValidationScores({"nl2code": [("parse a date", "def parse(s): ...")]})(model)
    {'mean_ndcg@10': 1.0, 'nl2code_ndcg@10': 1.0}
    """

    def __init__(
        self,
        pairs: Mapping[str, Sequence[tuple[str, ...]]],
        *,
        dims: Sequence[int] = (),
        metric: str = score_name(MEAN),
        batch_size: int = 32,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.collections = {task: _Collection(found) for task, found in pairs.items() if found}
        self.sizes: tuple[int | None, ...] = (None, *dims)
        self.batch_size = batch_size
        self.primary_metric = metric
        self.names = [score_name(of, size) for size in self.sizes for of in (MEAN, *self.collections)]
        if not self.collections:
            raise UserError(
                "there is no pair to validate on: every source is too small for validation.share to hold one "
                "out. Raise it, mine more code, or leave the [validation] table out."
            )
        if metric not in self.names:
            raise UserError(
                f"validation.metric is {metric!r}, and the held-out pairs give {', '.join(self.names)}: pass "
                "one of these."
            )

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """The scores of `model`, a `CodeEmbedder`; the trainer passes the rest, and nothing is written."""
        trains = model.training
        texts = sum(len(found.queries) + len(found.documents) for found in self.collections.values())
        scores: dict[str, float] = {}
        with tqdm(total=texts, desc="validating", unit="text", delay=2, leave=False, disable=None) as bar:
            for task, collection in self.collections.items():
                queries = self._embed(model.encode_query, collection.queries, task, bar)
                documents = self._embed(model.encode_document, collection.documents, task, bar)
                relevant = collection.relevant.to(queries.device)
                for size in self.sizes:
                    similar = normalize(queries[:, :size]) @ normalize(documents[:, :size]).T
                    scores[score_name(task, size)] = round(ndcg(similar, relevant).mean().item(), 6)
        model.train(trains)
        for size in self.sizes:
            of_tasks = [scores[score_name(task, size)] for task in self.collections]
            scores[score_name(MEAN, size)] = round(sum(of_tasks) / len(of_tasks), 6)
        return {name: scores[name] for name in self.names}

    def _embed(self, encode: Any, texts: Sequence[str], task: str, bar: "tqdm[Any]") -> Tensor:
        """`(texts, dim)` vectors."""
        as_tensor = {"convert_to_tensor": True, "show_progress_bar": False}
        vectors: Tensor = encode(list(texts), task=task, batch_size=self.batch_size, **as_tensor)
        bar.update(len(texts))
        return vectors.float()


class _Collection:
    """The pairs of one task: each text once, negatives too, and which document answers which query."""

    def __init__(self, pairs: Sequence[tuple[str, ...]]) -> None:
        queries = {query: row for row, query in enumerate(dict.fromkeys(query for query, *_ in pairs))}
        texts = dict.fromkeys(text for _, *found in pairs for text in found)
        documents = {text: column for column, text in enumerate(texts)}
        self.queries, self.documents = list(queries), list(documents)
        self.relevant = torch.zeros(len(queries), len(documents), dtype=torch.bool)
        for query, document, *_ in pairs:
            self.relevant[queries[query], documents[document]] = True


def ndcg(scores: Tensor, relevant: Tensor) -> Tensor:
    """nDCG@10 of each query (Järvelin and Kekäläinen, 2002), `(queries,)`.

    Arguments: `scores`, `(queries, documents)`; of equal ones the document that comes first ranks higher.
    `relevant`, booleans of the same shape, at least one true in each row.
    """
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :_CUT]
    discounts = 1 / torch.log2(torch.arange(2, _CUT + 2, device=scores.device, dtype=torch.float32))
    found = (relevant.gather(1, order) * discounts[: order.shape[1]]).sum(dim=1)
    best = discounts.cumsum(0)[relevant.sum(dim=1).clamp(max=_CUT) - 1]
    return found / best
