import pytest
import torch
from torch.nn import functional

from codequarry.inference.runtime import linear
from codequarry.inference.runtime.linear import Affine, Linear


@pytest.mark.parametrize("reordered", [True, False])
@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("fixed_rows", [None, 4])
@pytest.mark.parametrize("activation", ["none", "gelu"])
def test_several_layers_are_one_with_their_results_side_by_side(
    reordered: bool, copy: bool, fixed_rows: int | None, activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not reordered:
        monkeypatch.setattr(linear, "_reordered", lambda _: None)
    draw = torch.Generator().manual_seed(0)
    weights = [torch.randn(rows, 16, generator=draw) for rows in (8, 24)]
    biases = [torch.randn(rows, generator=draw) for rows in (8, 24)]
    x = torch.randn(9, 16, generator=draw)
    layer = Linear(
        Affine("one", weights, biases, activation),  # type: ignore[arg-type]
        torch.float32,
        copy=copy,
        fixed_rows=fixed_rows,
    )
    expected = torch.cat([functional.linear(x, *both) for both in zip(weights, biases, strict=True)], dim=1)
    expected = functional.gelu(expected) if activation == "gelu" else expected
    with torch.inference_mode():
        assert (layer(x) - expected).abs().max() < 1e-5


def test_weights_that_are_not_copied_are_those_given() -> None:
    weight = torch.ones(4, 4)
    layer = Linear(Affine("one", [weight]), torch.float32, copy=False)
    weight.mul_(2)
    assert layer(torch.ones(1, 4)).tolist() == [[8, 8, 8, 8]]
