"""Norms and gates computed again: the results and gradients of the modules they replace."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.models.gemma3.configuration_gemma3 import Gemma3TextConfig
from transformers.models.gemma3.modeling_gemma3 import Gemma3MLP
from transformers.models.qwen2.configuration_qwen2 import Qwen2Config
from transformers.models.qwen2.modeling_qwen2 import Qwen2MLP, Qwen2RMSNorm

from codequarry.modules.build import build_model
from codequarry.modules.recomputation import recomputation_of, recompute_elementwise


def norm() -> nn.Module:
    module = Qwen2RMSNorm(16)
    nn.init.normal_(module.weight)
    return module


def mlp() -> nn.Module:
    return Qwen2MLP(Qwen2Config(hidden_size=16, intermediate_size=24))


def output_and_gradients(module: nn.Module, states: Tensor) -> list[Tensor]:
    module.zero_grad()
    states = states.detach().requires_grad_()
    output = module(states)
    (output * torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)).sum().backward()
    assert states.grad is not None
    return [output.detach(), states.grad, *(weight.grad for weight in module.parameters())]  # type: ignore[misc]


@pytest.mark.parametrize("make", [norm, mlp])
def test_output_and_gradients_are_the_modules_own(make: Any) -> None:
    torch.manual_seed(0)
    module = make().double()
    states = torch.randn(2, 5, 16, dtype=torch.float64)
    expected = output_and_gradients(module, states)
    assert recompute_elementwise(module) == [""]
    # transformers' norm computes its root in float32, whatever it is given
    allowed = 1e-6 if make is norm else 1e-12
    for found, wanted in zip(output_and_gradients(module, states), expected, strict=True):
        assert (found - wanted).abs().max() < allowed * wanted.abs().max()


@pytest.mark.parametrize("make", [norm, mlp])
def test_in_float32_the_output_is_the_modules_own_to_the_last_bit(make: Any) -> None:
    torch.manual_seed(0)
    module, states = make(), torch.randn(2, 5, 16)
    before = module(states)
    recompute_elementwise(module)
    assert torch.equal(module(states), before)
    with torch.no_grad():
        assert torch.equal(module(states), before)


def test_a_result_is_computed_again_from_its_inputs() -> None:
    torch.manual_seed(0)
    module = norm()
    recompute_elementwise(module)
    result = module(torch.randn(2, 16, requires_grad=True))
    recomputation = recomputation_of(result)
    assert recomputation is not None
    assert torch.equal(recomputation.compute(*recomputation.inputs), result)
    assert not any(one.requires_grad for one in recomputation.inputs)
    assert recomputation_of(result * 1) is None


def test_a_gate_of_another_activation_stays_as_it_is() -> None:
    module = Gemma3MLP(Gemma3TextConfig(hidden_size=16, intermediate_size=24))
    assert recompute_elementwise(module) == []
    assert "forward" not in vars(module)


def test_a_whole_decoder_is_replaced_norm_by_norm_and_gate_by_gate(small_decoder: Path) -> None:
    model = build_model(str(small_decoder), max_length=64, device="cpu")
    names = recompute_elementwise(model)
    layers = model.config.num_hidden_layers
    assert len(names) == 3 * layers + 1


def test_an_encoder_has_nothing_to_replace(minilm: Path) -> None:
    assert recompute_elementwise(build_model(str(minilm), pooling="mean", device="cpu")) == []
