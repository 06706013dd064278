"""BERT's forward pass over packed texts (arXiv 1810.04805), for mean and first-token pooling."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from codequarry.inference.runtime.attention import Group, Heads, attend, attend_last
from codequarry.inference.runtime.linear import Affine, MakeLinear

Tensors = Callable[[str], Tensor]  # a weight by its name in transformers' model


def unsupported(config: Mapping[str, Any]) -> str | None:
    """Why this configuration is not computed here; None where it is."""
    wanted = {
        "hidden_act": "gelu", "is_decoder": False, "add_cross_attention": False,
        "position_embedding_type": "absolute",
    }  # fmt: skip
    for name, value in wanted.items():
        if config.get(name, value) != value:
            return f"its {name} is {config[name]!r}"
    return None


class _Layer:
    def __init__(self, weight: Tensors, name: str, dtype: torch.dtype, make: MakeLinear) -> None:
        def linear(*parts: str, **more: Any) -> Callable[[Tensor], Tensor]:
            weights = [weight(f"{name}.{part}.weight") for part in parts]
            biases = [weight(f"{name}.{part}.bias") for part in parts]
            return make(Affine(f"{name}.{parts[0]}", weights, biases, **more))

        def norm(part: str) -> tuple[Tensor, Tensor]:
            return weight(f"{name}.{part}.weight").to(dtype), weight(f"{name}.{part}.bias").to(dtype)

        self.qkv = linear(*(f"attention.self.{part}" for part in ("query", "key", "value")))
        self.out = linear("attention.output.dense", uneven=True)
        self.up = linear("intermediate.dense", activation="gelu")
        self.down = linear("output.dense", uneven=True)
        self.attention_norm, self.norm = norm("attention.output.LayerNorm"), norm("output.LayerNorm")


class Bert:
    """The hidden states of packed texts.

    Arguments:
        config: of the checkpoint, one that `unsupported` lets pass.
        weight: gives a weight by its name.
        dtype: of the states between layers.
        linear: makes a linear layer.
        fused: see `attention.attend`.
    """

    causal = False
    layers: list[_Layer]

    def __init__(
        self,
        config: Mapping[str, Any],
        weight: Tensors,
        dtype: torch.dtype,
        linear: MakeLinear,
        *,
        fused: bool = False,
    ) -> None:
        self.hidden_size: int = config["hidden_size"]
        heads: int = config["num_attention_heads"]
        self.heads = Heads(heads, heads, self.hidden_size // heads)
        self.epsilon: float = config.get("layer_norm_eps", 1e-12)
        self.max_tokens: int | None = config["max_position_embeddings"]
        self.dtype, self.fused = dtype, fused
        self.words = weight("embeddings.word_embeddings.weight")
        kinds = weight("embeddings.token_type_embeddings.weight").float()
        self.positions = weight("embeddings.position_embeddings.weight").float() + kinds[0]
        names = ("weight", "bias")
        self.scale, self.shift = (weight(f"embeddings.LayerNorm.{name}").float() for name in names)
        self.layers = [
            _Layer(weight, f"encoder.layer.{number}", dtype, linear)
            for number in range(config["num_hidden_layers"])
        ]

    def __call__(
        self, ids: Tensor, positions: Tensor, groups: Sequence[Group], rows: Tensor | None
    ) -> Tensor:
        """Hidden states `(all tokens, dim)`, or `(texts, dim)` of `rows`, one row of each text.

        Shapes: `ids` and `positions (all tokens,)`.
        """
        whole = functional.embedding(ids, self.words).float() + functional.embedding(
            positions, self.positions
        )
        x = functional.layer_norm(whole, (self.hidden_size,), self.scale, self.shift, self.epsilon).to(
            self.dtype
        )
        for layer in self.layers:
            qkv = layer.qkv(x)
            if rows is not None and layer is self.layers[-1]:
                query, others = qkv[rows][:, : self.hidden_size], qkv[:, self.hidden_size :]
                attended, x = attend_last(query, others, groups, self.heads), x[rows]
            else:
                attended = attend(qkv, groups, self.heads, causal=False, fused=self.fused)
            x = self._normed(x, layer.out(attended), layer.attention_norm)
            x = self._normed(x, layer.down(layer.up(x)), layer.norm)
        return x

    def _normed(self, x: Tensor, added: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
        weight, bias = norm
        return functional.layer_norm(added.add_(x), (self.hidden_size,), weight, bias, self.epsilon)
