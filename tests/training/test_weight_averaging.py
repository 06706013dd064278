"""Averaging trained weights with their base."""

import pytest
import torch
from torch import nn

from codequarry.training.weight_averaging import average, float_copy


def moved(model: nn.Module) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1.0)


@pytest.mark.parametrize(("share", "left"), [(0.0, 1.0), (0.25, 0.75), (1.0, 0.0)])
def test_the_share_of_the_base_is_taken_off_the_way_trained(share: float, left: float) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    before = float_copy(model)
    moved(model)
    average(model, before, share)
    for name, weight in model.state_dict().items():
        assert torch.allclose(weight, before[name] + left), name


def test_the_copy_does_not_change_with_the_model() -> None:
    model = nn.Linear(3, 2)
    before = float_copy(model)
    moved(model)
    assert not torch.equal(before["weight"], model.weight)


def test_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"differ in 1 of their weights, such as bias"):
        average(nn.Linear(3, 2), float_copy(nn.Linear(3, 2, bias=False)), 0.5)
