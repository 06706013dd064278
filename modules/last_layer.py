"""In a decoder's last layer, compute what last-token pooling reads and nothing else.

Every token's keys and values are needed there, for the last token looks at them all. But queries, attention's
output product and the MLP, nine tenths of the layer's work, matter for one row a text.
"""

from typing import Any

import torch
from torch import Tensor, nn

_PLACES = ("self_attn.q_proj", "self_attn.o_proj", "mlp")


class LastRows:
    """While packed texts go through `layer`, its q_proj, o_proj and MLP see the last token of each text only.

    The other rows of their outputs are zeros. That makes those rows of the layer's output meaningless, so
    nobody but last-token pooling may read it. Padded features, which bring no `cu_seq_lens_q`, are computed
    whole.

    Arguments: `layer`, the last one of a backbone. Raises AttributeError where it has no such parts.
    """

    def __init__(self, layer: nn.Module) -> None:
        self._last: Tensor | None = None
        places = [layer.get_submodule(name) for name in _PLACES]
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
