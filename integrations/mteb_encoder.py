"""A model as MTEB takes one, with the prompts of our five tasks on MTEB's tasks.

    import codequarry, mteb
    from codequarry.integrations.mteb_encoder import MtebEncoder

    mteb.evaluate(MtebEncoder(codequarry.load("runs/mini")), mteb.get_tasks(["CosQA"]))

MTEB's own wrapper ignores prompts that are not called by its names (`nl2code_query`) and would leave a model
without any.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codequarry.integrations.mteb_tasks import benchmark_task
from codequarry.modules.tasks import PromptFamily, Side, family_of

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models.model_meta import ModelMeta
    from mteb.types import PromptType
    from sentence_transformers import SentenceTransformer

Vectors = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str], str], Vectors]  # texts and their prompt, "" for none
ChoosePrompt = Callable[[str, Side], str]  # benchmark task and side


class MtebEncoder:
    """MTEB's encoder protocol around a model.

    Arguments:
        model: embeds when `embed` is None.
        prompt: what goes in front of a text; None for the prefix that the model's family has for the task in
            the table of benchmark tasks.
        embed: embeds texts behind a prompt, e.g. out of a cache; None for `model.encode`.
        name, revision: of the folder that results are kept in; name is `owner/model`.

    Raises ValueError for neither `prompt` nor a model with a prompt family, and, while encoding, for a
    benchmark task that is not in the table.
    """

    def __init__(
        self,
        model: "SentenceTransformer | None" = None,
        *,
        prompt: ChoosePrompt | None = None,
        embed: Embed | None = None,
        name: str = "codequarry/model",
        revision: str | None = None,
    ) -> None:
        if embed is None:
            if model is None:
                raise ValueError("MtebEncoder was given neither a model nor a way to embed: pass a model.")
            embed = _embed_with(model)
        if prompt is None:
            if model is None:
                raise ValueError("MtebEncoder was given neither a model nor its prompts: pass prompt=.")
            prompt = partial(task_prompt, family_of(model.prompts))
        self._embed = embed
        self._prompt = prompt
        self._name = name
        self._revision = revision

    def encode(
        self,
        inputs: Iterable[dict[str, Any]],
        *,
        task_metadata: "TaskMetadata",
        hf_split: str,
        hf_subset: str,
        prompt_type: "PromptType | None" = None,
        **_: Any,
    ) -> Vectors:
        """Unit vectors `(texts, dim)` of MTEB's batches, each text behind its side's prompt."""
        side: Side = "query" if prompt_type is None or prompt_type.value == "query" else "document"
        texts = [text for batch in inputs for text in batch["text"]]
        return self._embed(texts, self._prompt(task_metadata.name, side))

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosine similarity, `(first, second)`; the vectors are unit length already."""
        return np.asarray(embeddings1) @ np.asarray(embeddings2).T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosine similarity of each pair, `(pairs,)`."""
        return (np.asarray(embeddings1) * np.asarray(embeddings2)).sum(axis=1)

    @property
    def mteb_model_meta(self) -> "ModelMeta":
        """Name and revision, so that MTEB keeps the results under them."""
        from mteb.models.model_meta import ModelMeta

        return ModelMeta.create_empty({"name": self._name, "revision": self._revision})


def task_prompt(family: PromptFamily, name: str, side: Side) -> str:
    """The prefix of a benchmark task's side, by the table; ValueError for a task that is not in it.

    >>> task_prompt(family, "CosQA", "document") == family.prefix("nl2code", "document")
    True
    """
    return family.prefix(benchmark_task(name).task, side)


def _embed_with(model: "SentenceTransformer") -> Embed:
    def embed(texts: Sequence[str], prompt: str) -> Vectors:
        vectors = model.encode(list(texts), prompt=prompt, normalize_embeddings=True, show_progress_bar=True)
        return np.asarray(vectors, dtype=np.float32)

    return embed
