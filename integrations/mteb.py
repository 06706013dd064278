"""A model for MTEB, with the prompts of our five tasks on MTEB's tasks.

    import codequarry, mteb
    from codequarry.integrations.mteb import MtebEncoder

    mteb.evaluate(MtebEncoder(codequarry.load("runs/mini")), mteb.get_tasks(["CosQA"]))

MTEB's own wrapper knows prompts by the names of its tasks, or plain `query` and `document`: it would put
those of nl2code on every task, and ignore the ten of our tasks (`qa_query`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from codequarry.common.errors import UserError, did_you_mean
from codequarry.common.files import read_rows
from codequarry.inference.encoder import Encoder
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
        prompt: chooses the prompt; None for the prefix that the model's family has for the task in the table
            of benchmark tasks.
        embed: embeds texts behind a prompt, e.g. out of a cache; None for `model.encode`.
        empty: what `model` makes of a text that gives it no token: `refuse` raises, `zero` gives it a vector
            of zeros, whose similarity to every other is 0, as the benchmarks of this package do.
        name, revision: of the folder that results are kept in; name is `owner/model`.

    Raises UserError for neither `prompt` nor a model with a prompt family, and, while encoding, for a
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
        empty: Literal["refuse", "zero"] = "refuse",
    ) -> None:
        if embed is None:
            if model is None:
                raise UserError("MtebEncoder was given neither a model nor a way to embed: pass a model.")
            embed = partial(Encoder(model).encode, normalize=True, progress=True, empty=empty)
        if prompt is None:
            if model is None:
                raise UserError("MtebEncoder was given neither a model nor its prompts: pass prompt=.")
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
    """The prefix of a benchmark task's side, by the table; UserError for a task that is not in it.

    >>> task_prompt(family, "CosQA", "document") == family.prefix("nl2code", "document")
    True
    """
    return family.prefix(benchmark_task(name).task, side)


Kind = Literal["official", "further", "local"]


@dataclass(frozen=True)
class BenchmarkTask:
    """One set that a model can be scored on.

    name: as MTEB, or the folder of a local set, spells it.
    task: one of the five of `codequarry.modules.tasks`.
    kind: `official` is one of the twelve of MTEB(Code, v1), `further` is another task of mteb, `local` is
        built by `codequarry data build eval`.
    in_mean: False for a set on which every model scores so high that it would only dilute a mean.
    same_data: training sources that hold its texts under another name, or the same programs or posts, from
        which its test split cannot be removed without the set. MTEB counts a set as seen where its training
        split was trained on.
    """

    name: str
    task: str
    kind: Kind
    in_mean: bool = True
    same_data: tuple[str, ...] = ()


BENCHMARK_TASKS: Mapping[str, BenchmarkTask] = MappingProxyType(
    {row.name: row for row in read_rows(Path(__file__).with_name("benchmark_tasks.toml"), BenchmarkTask)}
)


def benchmark_task(name: str) -> BenchmarkTask:
    """The row of a benchmark task.

    Raises UserError for a name that is not in the table, with the nearest that is.

    >>> benchmark_task("CosQA").task
    'nl2code'
    """
    if name in BENCHMARK_TASKS:
        return BENCHMARK_TASKS[name]
    raise UserError(
        f"{name!r} is not in the table of benchmark tasks.{did_you_mean(name, BENCHMARK_TASKS)} Its row "
        "would say which task's prompts it takes: pass task=… to name one."
    )


def counts_in_mean(name: str) -> bool:
    """Whether a set counts in means: all do but the saturated one."""
    return name not in BENCHMARK_TASKS or BENCHMARK_TASKS[name].in_mean
