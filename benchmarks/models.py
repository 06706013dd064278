"""What is scored: models by name, with their prompts and variants, and the searches that are made of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from codequarry.benchmarks.quantization import CompressedDocuments, Precision, Ranges
from codequarry.common.errors import UserError
from codequarry.inference.encoder import Vectors, truncate
from codequarry.inference.vector_cache import Compute, StoredVectors
from codequarry.integrations.mteb import MtebEncoder
from codequarry.modules.backbone import ADAPTERS, EMBEDDED_BASE, SHIPPED, resolve_backbone
from codequarry.modules.tasks import TASKS, Side, prompt_name, wrong_prompts

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta
    from mteb.models.search_wrappers import SearchEncoderWrapper
    from sentence_transformers import SentenceTransformer

    from codequarry.inference.load import RuntimeName

BASELINE = EMBEDDED_BASE.rpartition("/")[2]

# What sentence-transformers' encode_query and encode_document look for, in its order.
_OWN_PROMPTS: dict[Side, tuple[str, ...]] = {
    "query": ("query",),
    "document": ("document", "passage", "corpus"),
}


Prompts = Literal["own", "none", "sides", "task"]


@dataclass(frozen=True)
class BenchmarkModel:
    """One model under a label.

    ours: whether it carries a whole prompt family for our five tasks; if not, its own `query` and `document`
        prompts are used, where it has them.
    fingerprint: see `codequarry.modules.embedder.fingerprint`.
    """

    label: str
    model: "SentenceTransformer"
    ours: bool
    fingerprint: str

    def prompt(self, task: str, side: Side, prompts: Prompts = "own") -> str:
        """What goes in front of a text of one of our five tasks; "" for nothing.

        Arguments: `prompts`, see `Variant`.
        """
        if prompts == "none":
            return ""
        task = other_task(task) if prompts == "task" else task
        if prompts == "sides":
            side = "document" if side == "query" else "query"
        if self.ours:
            return self.model.prompts[prompt_name(task, side)] or ""
        own = (self.model.prompts.get(name) for name in _OWN_PROMPTS[side])
        return next((prompt for prompt in own if prompt), "")

    @property
    def dims(self) -> int:
        """Dimensions of its vectors."""
        size = self.model.get_embedding_dimension()
        if size is None:
            raise UserError(f"{self.label} does not say how many numbers its vectors have.")
        return size

    def stored_vectors(
        self, folder: Path | None, *, compute: Compute = "auto", progress: bool = True
    ) -> StoredVectors:
        """The vectors of this model, kept in `folder`: see `StoredVectors`."""
        names = {"label": self.label, "fingerprint": self.fingerprint}
        return StoredVectors(self.model, folder, compute=compute, progress=progress, **names)


def load_model(name: str, device: str | None = None, runtime: "RuntimeName" = "packed") -> BenchmarkModel:
    """The model called `name`: `mini`, `pico`, `0.5b`, a folder, a Hub name, or `all-MiniLM-L6-v2`.

    A model with a prompt family for our five tasks is a `CodeEmbedder`, any other a plain
    `SentenceTransformer`. `device` and `runtime` are as in `codequarry.load`; other models are computed by
    sentence-transformers. One in 8-bit integers is called so, as its vectors are others.

    Raises UserError for whatever cannot be loaded.
    """
    from sentence_transformers import SentenceTransformer

    from codequarry.inference.load import load
    from codequarry.inference.runtime.attached import PackedRuntime
    from codequarry.modules.embedder import CodeEmbedder

    form = "-int8" if runtime == "int8" else ""
    if name in SHIPPED or name in ADAPTERS:
        return benchmark_model(f"{name}{form}", load(name, device=device, runtime=runtime))
    path = str(resolve_backbone(EMBEDDED_BASE)) if name in (BASELINE, EMBEDDED_BASE) else name
    folder = Path(path).expanduser()
    if not folder.exists() and (path.startswith((".", "/", "~")) or path.count("/") != 1):
        raise UserError(
            f"{name!r} is not here. Pass {', '.join([*SHIPPED, *ADAPTERS, BASELINE])}, a model folder, or a "
            "Hub name 'owner/model'."
        )
    if folder.exists() and not (folder / "modules.json").is_file():
        raise UserError(f"{name} holds no finished model: modules.json is missing.")
    try:
        model: SentenceTransformer = CodeEmbedder(path, device=device)  # reads the poolings of ours as well
        if not _has_our_prompts(model):
            model = SentenceTransformer(path, device=device)
    except Exception as error:  # a damaged file raises whatever its own reader does
        reason = next(iter(str(error).splitlines()), "")
        raise UserError(
            f"{name} could not be loaded ({type(error).__name__}: {reason}). Check the name, the network and "
            "the files."
        ) from error
    if isinstance(model, CodeEmbedder):
        if runtime == "packed":
            model.runtime = PackedRuntime()
        elif runtime != "stock":
            model = load(path, device=device, runtime=runtime)
    else:
        form = ""
    if name in (BASELINE, EMBEDDED_BASE):
        label = BASELINE
    else:  # a folder of this machine is called by its own name alone
        label = folder.name if folder.is_absolute() else name.rstrip("/")
    return benchmark_model(f"{label}{form}", model)


def benchmark_model(label: str, model: "SentenceTransformer") -> BenchmarkModel:
    """A model that is loaded already, under a label of your choice."""
    from codequarry.modules.embedder import fingerprint

    return BenchmarkModel(label, model, _has_our_prompts(model), fingerprint(model))


def _has_our_prompts(model: "SentenceTransformer") -> bool:
    return not wrong_prompts(model.prompts)


@dataclass(frozen=True)
class Variant:
    """One change to a model.

    section: of the results file: `dims`, `precisions` or `prompts`.
    name: how a row and a table call it.
    dims: dimensions that vectors are cut to, unit length again; None for all.
    prompts: the model's `own`, `none`, those of the other `sides`, or those of the next `task`.
    """

    section: str
    name: str
    dims: int | None = None
    precision: Precision = "float32"
    prompts: Prompts = "own"


_WHOLE = Variant("", "")


class Place(NamedTuple):
    """Where a model's results lie in MTEB's tree: `name`, as `owner/model`, and `revision`."""

    name: str
    revision: str

    @property
    def folder(self) -> Path:
        """Relative to the tree."""
        return Path(self.name.replace("/", "__").replace(" ", "_")) / self.revision


def place_of(model: BenchmarkModel) -> Place:
    """Where a model's results lie: under its label, and the start of its weights' hash as revision."""
    label = EMBEDDED_BASE if model.label == BASELINE else model.label.strip("/.")
    return Place(label if "/" in label else f"codequarry/{label}", model.fingerprint[:12])


def dense_search(
    model: BenchmarkModel,
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
        return model.prompt(task, side, variant.prompts)

    def embed(texts: Sequence[str], before: str) -> Vectors:
        found = vectors.embed(texts, before)
        return found if variant.dims is None else truncate(found, variant.dims)

    place = place_of(model)
    index = CompressedDocuments(variant.precision, ranges) if variant.precision != "float32" else None
    encoder = MtebEncoder(prompt=prompt, embed=embed, name=place.name, revision=place.revision)
    return SearchEncoderWrapper(encoder, index_backend=index)


def best_of(scores: Mapping[str, float], most: int) -> dict[str, float]:
    """At most so many of a ranking's documents, the best first; those of one score by falling id."""
    best = sorted(scores, key=lambda name: (scores[name], name), reverse=True)[:most]
    return {name: scores[name] for name in best}


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
            answers[query["id"]] = best_of(fused, top_k)
        return answers

    @property
    def mteb_model_meta(self) -> "ModelMeta":
        """Name and revision, so that MTEB keeps the results under them."""
        from mteb.models.model_meta import ModelMeta

        return ModelMeta.create_empty({"name": self._name, "revision": self._revision})


class BestPassageSearch:
    """A search of MTEB's protocol that sees passages, and answers with the documents they are from.

    Arguments:
        search: what finds passages, e.g. `BM25Search`, or MTEB's `SearchEncoderWrapper` around a model.
        passages: by document id its passages. Equal texts are searched once, whatever they are from.

    A document's score is its best passage's (MaxP: Dai and Callan, SIGIR 2019).
    """

    def __init__(self, search: Any, passages: Mapping[str, Sequence[str]]) -> None:
        self._search = search
        self._names: dict[str, str] = {}  # by text
        self._of_document = {
            document: [self._names.setdefault(text, f"p{len(self._names)}") for text in texts]
            for document, texts in passages.items()
        }
        self._documents: list[str] = []

    def index(self, corpus: Iterable[Mapping[str, str]], **settings: Any) -> None:
        """Take in the passages of the documents of a corpus, which are known by their ids."""
        from datasets import Dataset

        self._documents = [row["id"] for row in corpus]
        wanted = {name for document in self._documents for name in self._of_document[document]}
        texts = {name: text for text, name in self._names.items() if name in wanted}
        self._search.index(Dataset.from_dict({"id": list(texts), "text": list(texts.values())}), **settings)

    def search(
        self,
        queries: Sequence[Mapping[str, str]],
        *,
        top_k: int,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        **settings: Any,
    ) -> dict[str, dict[str, float]]:
        """For each query id its best `top_k` documents with their scores, among `top_ranked` where given."""
        among = {query["id"]: self._documents for query in queries} if top_ranked is None else top_ranked
        passages = {
            query: list(dict.fromkeys(name for document in documents for name in self._of_document[document]))
            for query, documents in among.items()
        }
        found = self._search.search(queries, top_k=len(self._names), top_ranked=passages, **settings)
        answers = {}
        for query, scores in found.items():
            best = {
                document: max(scores[name] for name in self._of_document[document] if name in scores)
                for document in among[query]
                if not scores.keys().isdisjoint(self._of_document[document])
            }
            answers[query] = best_of(best, top_k)
        return answers

    @property
    def mteb_model_meta(self) -> "ModelMeta":
        """Name and revision of the search over passages."""
        meta: ModelMeta = self._search.mteb_model_meta
        return meta


# How rows and tables call a model with prompts that are not its own for the text.
WRONG_PROMPTS: Mapping[Prompts, str] = MappingProxyType(
    {"none": "no prompt", "sides": "sides swapped", "task": "task swapped"}
)


def variants_of(
    model: BenchmarkModel,
    *,
    dims: Sequence[int],
    precisions: Sequence[Precision],
    wrong_prompts: Sequence[Prompts],
) -> list[Variant]:
    """The variants of a model that were asked for.

    A model without prompts has no prompts to go wrong: it gets none of those. One that has not those of our
    five tasks has no other task's.

    Raises UserError for a dimension that the model does not have.
    """
    for size in dims:
        if not 0 < size <= model.dims:
            raise UserError(
                f"{model.label} has vectors of {model.dims} dimensions: they cannot be truncated to {size}."
            )
    found = [Variant("dims", f"{size} dims", dims=size) for size in dims]
    found += [Variant("precisions", precision, precision=precision) for precision in precisions]
    if has_prompts(model):
        found += [
            Variant("prompts", WRONG_PROMPTS[change], prompts=change)
            for change in wrong_prompts
            if change != "task" or model.ours
        ]
    return found


def has_prompts(model: BenchmarkModel) -> bool:
    """Whether the model puts anything in front of a text."""
    return any(model.prompt(task, side) for task in TASKS for side in ("query", "document"))


def other_task(task: str) -> str:
    """The task whose prompts a swap takes: the next of the five, after the last the first."""
    names = list(TASKS)
    return names[(names.index(task) + 1) % len(names)]
