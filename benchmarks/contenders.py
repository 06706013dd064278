"""A model in a benchmark: loaded by name, with the prompts it was made for, and a hash of its weights."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from codequarry.modules.backbone import EMBEDDED_BASE, resolve_backbone
from codequarry.modules.tasks import Side, prompt_name, wrong_prompts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BASELINE = EMBEDDED_BASE.rpartition("/")[2]
# What sentence-transformers' encode_query and encode_document look for, in its order.
_OWN_PROMPTS: dict[Side, tuple[str, ...]] = {
    "query": ("query",),
    "document": ("document", "passage", "corpus"),
}


@dataclass(frozen=True)
class Contender:
    """One model under a label.

    ours: whether it carries a whole prompt family for our five tasks; if not, its own `query` and `document`
        prompts are used, where it has them.
    fingerprint: see `codequarry.modules.embedder.fingerprint`.
    prompted: False leaves every prompt out.
    """

    label: str
    model: "SentenceTransformer"
    ours: bool
    fingerprint: str
    prompted: bool = True

    def prompt(self, task: str, side: Side) -> str:
        """What goes in front of a text of one of our five tasks; "" for nothing."""
        if not self.prompted:
            return ""
        if self.ours:
            return self.model.prompts[prompt_name(task, side)] or ""
        own = (self.model.prompts.get(name) for name in _OWN_PROMPTS[side])
        return next((prompt for prompt in own if prompt), "")

    @property
    def dims(self) -> int:
        """Numbers a vector."""
        size = self.model.get_embedding_dimension()
        if size is None:
            raise ValueError(f"{self.label} does not say how many numbers its vectors have.")
        return size

    def without_prompts(self) -> "Contender":
        """The same model, told nothing about the task."""
        return replace(self, label=f"{self.label}, no prompt", prompted=False)


def load_contender(name: str, device: str | None = None) -> Contender:
    """The model called `name`: `mini`, a folder, a Hub name, or `all-MiniLM-L6-v2`, which is packaged.

    A model with a prompt family for our five tasks is a `CodeEmbedder`, any other a plain
    `SentenceTransformer`. `device` is as there. Raises ValueError for whatever cannot be loaded.
    """
    from sentence_transformers import SentenceTransformer

    from codequarry.modules.embedder import CodeEmbedder
    from codequarry.modules.load import load

    if name == "mini":
        return contender(name, load(name, device=device))
    path = str(resolve_backbone(EMBEDDED_BASE)) if name in (BASELINE, EMBEDDED_BASE) else name
    folder = Path(path).expanduser()
    if not folder.exists() and (path.startswith((".", "/", "~")) or path.count("/") != 1):
        raise ValueError(
            f"{name!r} is not here. Pass 'mini', '{BASELINE}', a model folder, or a Hub name 'owner/model'."
        )
    if folder.exists() and not (folder / "modules.json").is_file():
        raise ValueError(f"{name} holds no finished model: modules.json is missing.")
    try:
        model: SentenceTransformer = CodeEmbedder(path, device=device)  # reads the poolings of ours as well
        if not _has_our_prompts(model):
            model = SentenceTransformer(path, device=device)
    except Exception as error:  # a damaged file raises whatever its own reader does
        reason = next(iter(str(error).splitlines()), "")
        raise ValueError(
            f"{name} could not be loaded ({type(error).__name__}: {reason}). Check the name, the network and "
            "the files."
        ) from error
    if name in (BASELINE, EMBEDDED_BASE):
        label = BASELINE
    else:  # a folder of this machine is called by its own name alone
        label = folder.name if folder.is_absolute() else name.rstrip("/")
    return contender(label, model)


def contender(label: str, model: "SentenceTransformer") -> Contender:
    """A model that is loaded already, under a label of your choice."""
    from codequarry.modules.embedder import fingerprint

    return Contender(label, model, _has_our_prompts(model), fingerprint(model))


def _has_our_prompts(model: "SentenceTransformer") -> bool:
    return not wrong_prompts(model.prompts)
