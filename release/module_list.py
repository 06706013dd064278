"""The list of modules that a release holds: its classes, their folders, and what their settings may be.

Classes are named as in sentence-transformers before 5.4, which every reader knows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from codequarry.common.errors import UserError
from codequarry.common.files import read_json

LEGACY_PREFIX = "sentence_transformers.models."
PLAIN = ("Transformer", "Pooling", "Normalize")
STATIC_PLAIN = ("StaticEmbedding", "Normalize")
IN_WORDS = (
    "Transformer, Pooling, Normalize, with any Dense (and Normalize) between the last two; or "
    "StaticEmbedding, Normalize"
)

# How sentence-transformers before 5.4 spelled the pooling modes.
POOLING_FLAGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


def pooling_modes(config: Mapping[str, Any]) -> list[str]:
    """The modes that a `1_Pooling/config.json` of that spelling switches on."""
    return [mode for mode, flag in POOLING_FLAGS.items() if config.get(flag)]


DENSE_WEIGHTS = "model.safetensors"
# Those of text-embeddings-inference (DenseActivation in its dense.rs); it does not start with any other name.
ACTIVATIONS = ("torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Tanh")


@dataclass(frozen=True)
class DenseLayer:
    """A linear layer after the pooling, as `N_Dense/config.json` describes it.

    path: its folder below the model's, such as `2_Dense`.
    in_features, out_features: dimensions. bias: whether it has one. activation_function: a class of torch.
    """

    path: str
    in_features: int
    out_features: int
    bias: bool
    activation_function: str

    @property
    def config(self) -> dict[str, Any]:
        """The fields of `config.json`, those that every version of sentence-transformers reads."""
        return {name: value for name, value in asdict(self).items() if name != "path"}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors of its weights by name."""
        shapes: dict[str, tuple[int, ...]] = {"linear.weight": (self.out_features, self.in_features)}
        return shapes | ({"linear.bias": (self.out_features,)} if self.bias else {})


def is_releasable(names: Sequence[str]) -> bool:
    """Whether a release can hold modules of these classes in this order.

    >>> is_releasable(["Transformer", "Pooling", "Dense", "Dense", "Normalize"])
    True
    """
    if tuple(names) == STATIC_PLAIN:
        return True
    between = names[2:-1]
    twice = ("Normalize", "Normalize") in pairwise(names)
    return [*names[:2], *names[-1:]] == [*PLAIN] and {*between} <= {"Dense", "Normalize"} and not twice


def places(names: Sequence[str]) -> list[tuple[str, str]]:
    """(class, folder) in the order they are applied; the Transformer is in the model's own folder.

    >>> places(["Transformer", "Pooling", "Normalize"])
    [('Transformer', ''), ('Pooling', '1_Pooling'), ('Normalize', '2_Normalize')]
    """
    return [(name, f"{index}_{name}" if index else "") for index, name in enumerate(names)]


def module_rows(modules: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """The rows of `modules.json` for (class, folder) of each module."""
    return [
        {"idx": index, "name": str(index), "path": path, "type": LEGACY_PREFIX + name}
        for index, (name, path) in enumerate(modules)
    ]


def saved_modules(folder: Path) -> list[tuple[str, str]]:
    """(class, folder) of each row of a model's `modules.json`, the class without its package."""
    rows = read_json(folder / "modules.json")
    return [(str(row["type"]).rpartition(".")[2], str(row["path"])) for row in rows]


def dense_layers(folder: Path) -> list[DenseLayer]:
    """The Dense layers of a model's folder, in order.

    Raises UserError for one that computes what a release cannot hold, or whose weights are missing.
    """
    return [_dense_layer(folder, path) for name, path in saved_modules(folder) if name == "Dense"]


def _dense_layer(folder: Path, path: str) -> DenseLayer:
    file = folder / path / "config.json"
    fields: dict[str, Any] = read_json(file)
    own = {name: fields.pop(name, None) for name in ("in_features", "out_features", "bias")}
    own["bias"] = True if own["bias"] is None else own["bias"]  # as sentence-transformers reads it
    activation = fields.pop("activation_function", "torch.nn.modules.activation.Tanh")
    if activation not in ACTIVATIONS:
        raise UserError(
            f"{file} has activation_function {activation!r}; servers know {' and '.join(ACTIVATIONS)}: a "
            "release holds no other. Train with one of these."
        )
    as_usual = {
        "module_input_name": "sentence_embedding",
        "module_output_name": "sentence_embedding",
        "use_residual": False,
    }
    for name, value in fields.items():
        if name not in as_usual or value != as_usual[name]:
            raise UserError(
                f"{file} has {name} {value!r}, which older versions of sentence-transformers and servers do "
                "not know: a release holds plain Dense layers on the embedding."
            )
    if not (folder / path / DENSE_WEIGHTS).is_file():
        raise UserError(
            f"{folder / path} holds no {DENSE_WEIGHTS}: save the model through codequarry's CodeEmbedder."
        )
    return DenseLayer(path, activation_function=activation, **own)
