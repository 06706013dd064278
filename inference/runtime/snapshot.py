"""Is a model what it was when an engine was built from it? Asked at each call, so it has to be cheap."""

from typing import Any

import torch
from torch import Tensor, nn

from codequarry.inference.runtime.engine import Unsupported


class Snapshot:
    """The modules of a model, where their weights are, how often these were written, and one number of each.

    Argument: `model`, a `SentenceTransformer`.

    Raises Unsupported for hooks, compiled modules, linear layers that are not torch's own, and weights that
    are not contiguous.
    """

    def __init__(self, model: Any) -> None:
        # Objects are kept with their ids: another one cannot get the id of one that is alive.
        self._modules: list[tuple[dict[str, Any], list[int], list[int], nn.Module]] = []
        self._weights: list[tuple[Tensor, int, int, Any, Any]] = []
        waiting: list[nn.Module] = [model]
        while waiting:
            module = waiting.pop()
            inside = vars(module)
            if why := _in_the_way(inside):
                raise Unsupported(f"a {type(module).__name__} in it {why}")
            if type(module).__name__ == "Linear" and type(module) is not nn.Linear:
                raise Unsupported("its linear layers are not torch's own")
            waiting += [inner for inner in inside["_modules"].values() if inner is not None]
            for weight in inside["_parameters"].values():
                if weight is not None:
                    middle = _middle(weight)
                    row = weight, weight.data_ptr(), weight._version, middle, middle.item()
                    self._weights.append(row)
            if module is not model:
                self._modules.append((inside, *_ids(inside), module))
        self._root = self._of_root(model)

    def is_still(self, model: Any) -> bool:
        """Whether `model`, or a shallow copy of it, is as it was.

        `weight.data += …` counts no version: the number in the middle of a weight shows it.
        """
        for inside, modules, weights, _ in self._modules:
            if _in_the_way(inside) or _ids(inside) != (modules, weights):
                return False
        for weight, address, version, middle, value in self._weights:
            if weight._version != version or weight.data_ptr() != address or middle.item() != value:
                return False
        return not _in_the_way(vars(model)) and self._of_root(model) == self._root

    @staticmethod
    def _of_root(model: Any) -> list[Any]:
        children = list(model.children())
        pooling: Any = children[1] if len(children) > 1 else None
        settings = getattr(pooling, "pooling_mode", None), getattr(pooling, "include_prompt", None)
        return [*map(type, children), *_ids(vars(model)), settings]


def _in_the_way(inside: dict[str, Any]) -> str:
    """What of a module's attributes changes its `forward`; "" for nothing."""
    if inside["_forward_hooks"] or inside["_forward_pre_hooks"] or "forward" in inside:
        return "has a hook"
    return "is compiled" if inside.get("_compiled_call_impl") is not None else ""


def _ids(inside: dict[str, Any]) -> tuple[list[int], list[int]]:
    return [*map(id, inside["_modules"].values())], [*map(id, inside["_parameters"].values())]


def _middle(weight: Tensor) -> Any:
    """The number in the middle of a tensor, as a view: numpy reads it in a tenth of torch's time."""
    if not weight.is_contiguous():
        raise Unsupported("a weight of it is not contiguous")
    flat = weight.detach().view(-1)
    one = flat[len(flat) // 2 :][:1]
    return one.view(torch.int16).numpy() if weight.dtype == torch.bfloat16 else one.numpy()
