"""A model as MTEB searches with it: whole, or with fewer dimensions, fewer bits, other prompts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from codequarry.benchmarks.contenders import BASELINE, Contender
from codequarry.benchmarks.precision import CompressedDocuments, Ranges
from codequarry.benchmarks.variants import Variant, prompt_of
from codequarry.benchmarks.vectors import StoredVectors, Vectors, truncated
from codequarry.integrations.mteb_encoder import MtebEncoder
from codequarry.modules.backbone import EMBEDDED_BASE
from codequarry.modules.tasks import Side

if TYPE_CHECKING:
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
