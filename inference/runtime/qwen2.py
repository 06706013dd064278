"""The forward pass of Qwen2 decoders (arXiv 2407.10671) over packed texts, a shared prefix computed once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from codequarry.inference.runtime.attention import Group, Heads, Prefix, attend, attend_last
from codequarry.inference.runtime.bert import Tensors
from codequarry.inference.runtime.linear import Affine, MakeLinear


def unsupported(config: Mapping[str, Any]) -> str | None:
    """Why this configuration is not computed here; None where it is."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, Mapping) else rope
    kinds = config.get("layer_types") or []
    if config.get("hidden_act", "silu") != "silu":
        return f"its hidden_act is {config['hidden_act']!r}"
    if kind != "default":
        return f"its rotary positions are of the kind {kind!r}"
    if any(isinstance(value, Mapping) for value in rope.values()):
        return "its layers have rotary positions of several kinds"
    if {config.get("partial_rotary_factor", 1.0), rope.get("partial_rotary_factor", 1.0)} != {1.0}:
        return "it turns a part of each head"
    if set(kinds) - {"full_attention"} or (config.get("use_sliding_window") and not kinds):
        return "some layers attend in a sliding window"
    if config.get("is_causal") is False or config.get("use_bidirectional_attention") is True:
        return "it attends to both sides"
    return None


class _Layer:
    def __init__(self, weight: Tensors, name: str, last: bool, make: MakeLinear) -> None:
        def linear(
            part: str, *names: str, bias: bool = False, uneven: bool = False
        ) -> Callable[[Tensor], Tensor]:
            whole = [f"{name}.{part}.{one}_proj" for one in names]
            biases = [weight(f"{one}.bias") for one in whole] if bias else None
            weights = [weight(f"{one}.weight") for one in whole]
            return make(Affine(whole[0], weights, biases, uneven=uneven))

        # Of the last layer, queries are computed for the last tokens alone.
        first, others = (("q",), ("k", "v")) if last else (("q", "k", "v"), ())
        self.q_or_qkv = linear("self_attn", *first, bias=True)
        self.kv = linear("self_attn", *others, bias=True) if others else None
        self.out = linear("self_attn", "o", uneven=True)
        self.gate_up = linear("mlp", "gate", "up")
        self.down = linear("mlp", "down", uneven=True)
        self.norm = weight(f"{name}.input_layernorm.weight").float()
        self.mlp_norm = weight(f"{name}.post_attention_layernorm.weight").float()


class Qwen2:
    """The normed hidden state of each text's last token.

    Arguments: as of `bert.Bert`. The residual stream is float32 whatever `dtype` is.
    """

    causal = True

    def __init__(
        self,
        config: Mapping[str, Any],
        weight: Tensors,
        dtype: torch.dtype,
        linear: MakeLinear,
        *,
        fused: bool = False,
    ) -> None:
        del fused  # its attention always is
        self.hidden_size: int = config["hidden_size"]
        heads: int = config["num_attention_heads"]
        size = config.get("head_dim") or self.hidden_size // heads
        self.heads = Heads(heads, config.get("num_key_value_heads") or heads, size)
        self.epsilon: float = config.get("rms_norm_eps", 1e-6)
        self.max_tokens = None  # positions are angles, and go on
        self.dtype = dtype
        rope = config.get("rope_parameters") or {}
        theta = float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0)
        # As transformers computes them: rounded differently, angles at far positions differ.
        self._frequencies = 1.0 / theta ** (torch.arange(0, size, 2, dtype=torch.int64).float() / size)
        self.words = weight("embed_tokens.weight")
        self.norm = weight("norm.weight").float()
        count = config["num_hidden_layers"]
        self.layers = [
            _Layer(weight, f"layers.{number}", number == count - 1, linear) for number in range(count)
        ]

    def __call__(
        self,
        ids: Tensor,
        positions: Tensor,
        groups: Sequence[Group],
        rows: Tensor | None,
        prefix: Sequence[Prefix] | None = None,
    ) -> Tensor:
        """Hidden states `(texts, dim)` of `rows`, the last row of each text.

        Arguments: `prefix`, what `prefix_of` gave: the texts' ids begin behind it, and so do positions.

        Shapes: `ids` and `positions (all tokens,)`.
        """
        assert rows is not None
        residual = functional.embedding(ids, self.words).float()
        turned = self._turn(positions)
        for number, layer in enumerate(self.layers):
            before = None if prefix is None else prefix[number]
            x = self._normed(residual, layer.norm)
            if layer.kv is None:
                qkv = self._rotated(layer.q_or_qkv(x), self.heads.queries + self.heads.keys, turned)
                attended = attend(qkv, groups, self.heads, causal=True, prefix=before)
            else:
                others = self._rotated(layer.kv(x), self.heads.keys, turned)
                query = self._rotated(
                    layer.q_or_qkv(x[rows]), self.heads.queries, (turned[0][rows], turned[1][rows])
                )
                attended, residual = attend_last(query, others, groups, self.heads, before), residual[rows]
            residual = residual + layer.out(attended)
            residual = residual + self._mlp(layer, self._normed(residual, layer.mlp_norm))
        return functional.rms_norm(residual, (self.hidden_size,), self.norm, self.epsilon)

    def prefix_of(self, ids: Tensor) -> list[Prefix]:
        """Keys and values of each layer for tokens `(tokens,)` that stand in front of texts."""
        residual = functional.embedding(ids, self.words).float()
        turned = self._turn(torch.arange(len(ids)))
        groups, heads, found = [Group(0, 1, len(ids))], self.heads, []
        for layer in self.layers:
            x = self._normed(residual, layer.norm)
            if layer.kv is None:
                qkv = self._rotated(layer.q_or_qkv(x), heads.queries + heads.keys, turned)
                keys_values = qkv[:, heads.queries * heads.size :]
            else:
                keys_values = self._rotated(layer.kv(x), heads.keys, turned)
            states = keys_values.view(len(ids), 2 * heads.keys, heads.size).transpose(0, 1)
            found.append(Prefix(*torch.split(states.contiguous(), heads.keys)))
            if layer.kv is None:
                residual = residual + layer.out(attend(qkv, groups, heads, causal=True))
                residual = residual + self._mlp(layer, self._normed(residual, layer.mlp_norm))
        return found

    def _mlp(self, layer: _Layer, x: Tensor) -> Tensor:
        gate, up = layer.gate_up(x).chunk(2, dim=-1)
        return layer.down(functional.silu(gate).mul_(up))

    def _normed(self, residual: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(residual, (self.hidden_size,), weight, self.epsilon).to(self.dtype)

    def _turn(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the angles, each `(tokens, 1, size / 2)`."""
        angles = torch.outer(positions.float(), self._frequencies)[:, None]
        return angles.cos(), angles.sin()

    def _rotated(self, states: Tensor, heads: int, turned: tuple[Tensor, Tensor]) -> Tensor:
        """The first `heads` heads of `(tokens, all heads · size)` turned by their positions, in place."""
        size = self.heads.size
        turning = states.view(len(states), -1, size)[:, :heads]
        first, second = turning[..., : size // 2], turning[..., size // 2 :]
        cosine, sine = turned
        one = (first * cosine).sub_(second * sine)
        turning[..., size // 2 :] = second * cosine + first * sine
        turning[..., : size // 2] = one
        return states
