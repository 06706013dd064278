"""What a model was: every change of what an engine was built from is seen, and no other."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from codequarry.inference.runtime.engine import Unsupported
from codequarry.inference.runtime.snapshot import Snapshot


def small() -> nn.Sequential:
    return nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)), nn.Dropout(), nn.Linear(3, 2))


def in_place(model: nn.Sequential) -> None:
    with torch.no_grad():
        model[2].weight.mul_(1)


def through_data(model: nn.Sequential) -> None:
    model[2].weight.data += 1


def another_tensor(model: nn.Sequential) -> None:
    model[2].weight = nn.Parameter(model[2].weight.detach().clone())


def other_data(model: nn.Sequential) -> None:
    model[2].weight.data = model[2].weight.detach().clone()


def another_module(model: nn.Sequential) -> None:
    model[0][1] = copy.deepcopy(model[0][1])


def a_module_more(model: nn.Sequential) -> None:
    model.append(nn.Identity())


def a_hook(model: nn.Sequential) -> None:
    model[0][0].register_forward_hook(lambda *_: None)


def a_hook_on_the_whole(model: nn.Sequential) -> None:
    model.register_forward_pre_hook(lambda *_: None)


def another_forward(model: nn.Sequential) -> None:
    model[0][0].forward = lambda x: x


CHANGES: list[Callable[[nn.Sequential], None]] = [
    in_place, through_data, another_tensor, other_data, another_module, a_module_more, a_hook,
    a_hook_on_the_whole, another_forward,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_is_seen(change: Callable[[nn.Sequential], None]) -> None:
    model = small()
    snapshot = Snapshot(model)
    assert snapshot.is_still(model)
    change(model)
    assert not snapshot.is_still(model)


def test_a_shallow_copy_and_another_mode_are_the_same_model() -> None:
    model = small()
    snapshot = Snapshot(model)
    assert snapshot.is_still(copy.copy(model))
    model.train(not model.training)
    model(torch.zeros(1, 3))
    assert snapshot.is_still(model)
    assert not snapshot.is_still(copy.deepcopy(model))


@pytest.mark.parametrize(("change", "why"), [(a_hook, "has a hook"), (another_forward, "has a hook")])
def test_what_an_engine_would_not_compute_is_said(change: Callable[[nn.Sequential], None], why: str) -> None:
    model = small()
    change(model)
    with pytest.raises(Unsupported, match=f"a Linear in it {why}"):
        Snapshot(model)
    compiled = small()
    compiled[0].compile()
    with pytest.raises(Unsupported, match="a Sequential in it is compiled"):
        Snapshot(compiled)


def test_weights_of_another_layout_are_said() -> None:
    model = small()
    model[2].weight.data = torch.zeros(3, 2).t()
    with pytest.raises(Unsupported, match="not contiguous"):
        Snapshot(model)
