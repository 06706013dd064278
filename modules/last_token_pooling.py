"""Pool a text into the hidden state of its last real token, and skip what no other part of a model reads.

A causal model has read the whole text only at its last token, so that token's state stands for the text
(jina-code-embeddings, arXiv 2508.21290, section 2: +1.2 points over mean pooling on 25 benchmarks). In the
last layer every token's keys and values are needed, for the last token attends to them all; queries,
attention's output product and the MLP, nine tenths of the layer's work, matter for one row per text.
"""

from typing import Any

import torch
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import Tensor, nn

from codequarry.modules.instruction_prefix import refuse_other_containers

# Of a decoder's last layer: what is computed for the last token of each text only.
_PER_ROW = ("self_attn.q_proj", "self_attn.o_proj", "mlp")


class LastTokenPooling(Pooling):
    """`Pooling("lasttoken")` that reads one row per text and no other hidden state.

        embedding_b = hidden_{b, last(b)},   last(b) = max { t : mask_{b,t} = 1 }

    The stock class multiplies all hidden states by the mask before it picks one, which copies the whole
    `(batch, tokens, dim)` tensor; this one gathers. Padding may be left, right or on both sides. Packed
    input (`cu_seq_lens_q`: where each text starts in one row without padding) is read directly.

    Saved folders name `Pooling`, which gives the same vectors: see `CodeEmbedder`.

    Arguments:
        embedding_dimension: size of a hidden state.

    Shapes: `token_embeddings (batch, tokens, dim)` and `attention_mask (batch, tokens)`, or packed
    `(1, all tokens, dim)` and `cu_seq_lens_q (batch + 1,)`, to `sentence_embedding (batch, dim)`.

    >>> model = CodeEmbedder(modules=[InstructionPrefix(path), LastTokenPooling(896), Normalize()])
    """

    stock_class = Pooling
    on_model_ready = refuse_other_containers

    def __init__(self, embedding_dimension: int) -> None:
        super().__init__(embedding_dimension, pooling_mode="lasttoken")

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Add `sentence_embedding (batch, dim)` to the features."""
        hidden: Tensor = features["token_embeddings"]
        if "cu_seq_lens_q" in features:
            features["sentence_embedding"] = hidden[0, features["cu_seq_lens_q"][1:].long() - 1]
            return features
        mask: Tensor = features["attention_mask"]
        positions = torch.arange(mask.size(1), device=mask.device)
        last = torch.where(mask.bool(), positions, 0).amax(dim=1)  # (batch,)
        rows = torch.arange(hidden.size(0), device=hidden.device)
        features["sentence_embedding"] = hidden[rows, last.to(hidden.device)]
        return features


class LastRows:
    """While packed texts go through `layer`, its q_proj, o_proj and MLP see the last token of each text only.

    The other rows of their outputs are zeros, so only last-token pooling may read the layer's output. Padded
    features, which have no `cu_seq_lens_q`, are computed whole.

    Arguments: `layer`, the last one of a backbone. Raises AttributeError where it has no such parts.
    """

    def __init__(self, layer: nn.Module) -> None:
        self._last: Tensor | None = None
        places = [layer.get_submodule(name) for name in _PER_ROW]
        self._hooks = [layer.register_forward_pre_hook(self._find, with_kwargs=True)]
        for place in places:
            self._hooks += [
                place.register_forward_pre_hook(self._select),
                place.register_forward_hook(self._put_back),
            ]
        self._rows: list[int] = []

    def remove(self) -> None:
        """Let the layer compute all rows again."""
        for hook in self._hooks:
            hook.remove()

    def _find(self, layer: nn.Module, inputs: Any, arguments: dict[str, Any]) -> None:
        bounds: Tensor | None = arguments.get("cu_seq_lens_q")
        self._last = None if bounds is None else bounds[1:].long() - 1

    def _select(self, place: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if self._last is None:
            return None
        self._rows.append(inputs[0].shape[1])
        return (inputs[0][:, self._last],)

    def _put_back(self, place: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        if self._last is None:
            return None
        whole = output.new_zeros(output.shape[0], self._rows.pop(), output.shape[2])
        return torch.index_copy(whole, 1, self._last, output)
