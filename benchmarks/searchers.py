"""What MTEB searches with: a model, whole or reduced (dimensions, bits, prompts), and fused rankings."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from codequarry.benchmarks.contenders import BASELINE, Contender
from codequarry.benchmarks.precision import CompressedDocuments, Ranges
from codequarry.benchmarks.variants import Variant, prompt_of
from codequarry.benchmarks.vectors import StoredVectors, Vectors, truncated
from codequarry.integrations.mteb_encoder import MtebEncoder
from codequarry.modules.backbone import EMBEDDED_BASE
from codequarry.modules.tasks import Side

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta
    from mteb.models.search_wrappers import SearchEncoderWrapper

_WHOLE = Variant("", "")


class Place(NamedTuple):
    """Where a model's results lie in MTEB's tree: `name`, as `owner/model`, and `revision`."""

    name: str
    revision: str

    @property
    def folder(self) -> Path:
        """Relative to the tree."""
        return Path(self.name.replace("/", "__").replace(" ", "_")) / self.revision


def place_of(model: Contender) -> Place:
    """Where a model's results lie: under its label, and the start of its weights' hash as revision."""
    label = EMBEDDED_BASE if model.label == BASELINE else model.label.strip("/.")
    return Place(label if "/" in label else f"codequarry/{label}", model.fingerprint[:12])


def dense_search(
    model: Contender,
    vectors: StoredVectors,
    task: str,
    variant: Variant = _WHOLE,
    ranges: Ranges | None = None,
) -> "SearchEncoderWrapper":
    """MTEB's searcher for a model on one of our tasks.

    ranges: of the int8 codes, for a variant stored in int8.
    """
    from mteb.models.search_wrappers import SearchEncoderWrapper

    def prompt(_: str, side: Side) -> str:
        return prompt_of(model, task, side, variant.prompts)

    def embed(texts: Sequence[str], before: str) -> Vectors:
        found = vectors.embed(texts, before)
        return found if variant.dims is None else truncated(found, variant.dims)

    place = place_of(model)
    index = CompressedDocuments(variant.precision, ranges) if variant.precision != "float32" else None
    encoder = MtebEncoder(prompt=prompt, embed=embed, name=place.name, revision=place.revision)
    return SearchEncoderWrapper(encoder, index_backend=index)


class FusedSearch:
    """Reciprocal rank fusion of rankings that were found before, as MTEB's search protocol.

    A document's score is the sum of 1 / (60 + rank) over the rankings that hold it, ranks from 1 (Cormack et
    al., SIGIR 2009), by MTEB's own function. Its `HybridSearch` would search with both models once more.

    Arguments: `found` holds, for each searcher, part of the set → query id → document id → score; `name` and
    `revision` are what MTEB files the results under.
    """

    def __init__(
        self, found: Sequence[Mapping[str, Mapping[str, Mapping[str, float]]]], name: str, revision: str
    ) -> None:
        self._found = found
        self._name = name
        self._revision = revision

    def index(self, corpus: Any, **_: Any) -> None:
        """Nothing: the rankings are there."""

    def search(
        self, queries: Iterable[Mapping[str, str]], *, top_k: int, hf_subset: str = "default", **_: Any
    ) -> dict[str, dict[str, float]]:
        """For each query id the best `top_k` of the fused ranking."""
        from mteb.models.hybrid_wrappers import fuse_rrf

        answers = {}
        for query in queries:
            rankings = [found[hf_subset][query["id"]] for found in self._found]
            fused = fuse_rrf(rankings, [1.0] * len(rankings))
            best = sorted(fused, key=lambda name: (fused[name], name), reverse=True)[:top_k]
            answers[query["id"]] = {name: fused[name] for name in best}
        return answers

    @property
    def mteb_model_meta(self) -> "ModelMeta":
        """Name and revision, so that MTEB keeps the results under them."""
        from mteb.models.model_meta import ModelMeta

        return ModelMeta.create_empty({"name": self._name, "revision": self._revision})
