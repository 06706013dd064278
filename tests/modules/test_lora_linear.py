"""LoRA layers as one function: the gradients of peft's own layers, and less kept for them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.lora_linear import LoRALinear, fuse_adapters
from codequarry.modules.packing import packed, use_packing
from codequarry.modules.recomputation import Recomputation, recompute_elementwise
from codequarry.training.lora import add_adapter, merge_adapter

pytest.importorskip("peft")

ROWS = [[5, 9, 11, 3], [7] * 30, [8, 2], list(range(4, 50))]


def with_adapter(folder: Path, **more: Any) -> CodeEmbedder:
    torch.manual_seed(0)
    model = build_model(str(folder), max_length=64, device="cpu")
    add_adapter(model, **{"rank": 4, "alpha": 8.0, **more})
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # it begins at zero, and nothing would reach A
            nn.init.normal_(weight, std=0.1)
    return model


def loss_and_gradients(model: CodeEmbedder, features: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    vectors = model(dict(features))["sentence_embedding"]
    loss = (vectors * torch.linspace(-1, 1, vectors.numel()).view_as(vectors)).sum()
    loss.backward()
    return loss.detach(), {
        name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None
    }


def test_a_fused_layer_has_the_gradients_of_float64() -> None:
    torch.manual_seed(1)
    shapes = [(2, 3, 8), (5, 8), (5,), (2, 8), (5, 2)]
    states, weight, bias, down, up = (torch.randn(shape, dtype=torch.float64) for shape in shapes)
    for one in (states, down, up):
        one.requires_grad_()

    def fused(states: Tensor, down: Tensor, up: Tensor) -> Any:
        recomputation = Recomputation(torch.mul, (states.detach(), torch.tensor(2.0)))
        return LoRALinear.apply(states * 2, weight, bias, down, up, 0.7, recomputation)

    def plain(states: Tensor, down: Tensor, up: Tensor) -> Tensor:
        return nn.functional.linear(2 * states, weight, bias) + 0.7 * (2 * states @ down.T @ up.T)

    torch.testing.assert_close(fused(states, down, up), plain(states, down, up))
    assert torch.autograd.gradcheck(fused, (states, down, up))


@pytest.mark.parametrize("pack", [True, False], ids=["packed", "padded"])
def test_a_fused_model_has_the_loss_and_gradients_of_peft(small_decoder: Path, pack: bool) -> None:
    model = with_adapter(small_decoder)
    if pack:
        assert use_packing(model) is None
        features = packed(ROWS)
    else:
        features = dict(model[0].preprocess(["def f(x):\n    return x", "a", "parse a date " * 6]))
    expected, gradients = loss_and_gradients(model, features)
    assert recompute_elementwise(model)
    assert fuse_adapters(model) == 14
    found, ours = loss_and_gradients(model, features)
    assert abs(found - expected) < 1e-6
    assert ours.keys() == gradients.keys()
    largest = max(gradient.norm() for gradient in gradients.values())
    for name, gradient in gradients.items():
        assert (ours[name] - gradient).norm() < 1e-5 * max(gradient.norm(), 1e-2 * largest), name


def test_nothing_of_frozen_weights_or_below_the_first_adapter_gets_a_gradient(small_decoder: Path) -> None:
    model = with_adapter(small_decoder, targets=("down_proj",))
    assert use_packing(model) is None
    recompute_elementwise(model)
    fuse_adapters(model)
    seen: dict[str, bool] = {}
    for name in ("layers.0.self_attn.q_proj", "layers.0.mlp.down_proj", "layers.1.self_attn.q_proj"):
        model.transformers_model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({name: output.requires_grad})
        )
    _, gradients = loss_and_gradients(model, packed(ROWS))
    assert all("lora" in name for name in gradients)
    assert seen == {
        "layers.0.self_attn.q_proj": False, "layers.0.mlp.down_proj": True, "layers.1.self_attn.q_proj": True,
    }  # fmt: skip


def kept_bytes(model: CodeEmbedder) -> int:
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(packed([[7] * 60] * 4))
    return sum(
        tensor.untyped_storage().nbytes() for pointer, tensor in kept.items() if pointer not in weights
    )


def test_a_step_keeps_the_inputs_of_what_is_dear_and_nothing_else(small_decoder: Path) -> None:
    model = with_adapter(small_decoder)
    assert use_packing(model) is None
    before = kept_bytes(model)
    recompute_elementwise(model)
    fuse_adapters(model)
    config: Any = model.config
    # The input of each norm, queries, keys and values, attention's output, gate and up.
    head = config.hidden_size // config.num_attention_heads
    attention = 2 * config.hidden_size + 2 * config.num_key_value_heads * head
    numbers = 2 * config.hidden_size + attention + 2 * config.intermediate_size
    whole_layers = config.num_hidden_layers - 1  # of the last one, little but keys and values is computed
    least = whole_layers * 240 * numbers * 4
    assert least < kept_bytes(model) < 0.75 * before


def test_under_autocast_it_is_as_near_to_float32_as_peft(small_decoder: Path) -> None:
    model = with_adapter(small_decoder)
    assert use_packing(model) is None
    _, exact = loss_and_gradients(model, packed(ROWS))

    def far() -> float:
        with torch.autocast("cpu", torch.bfloat16):
            _, gradients = loss_and_gradients(model, packed(ROWS))
        return sum(float((gradients[name] - exact[name]).norm() ** 2) for name in exact) ** 0.5

    theirs = far()
    recompute_elementwise(model)
    fuse_adapters(model)
    assert far() < 1.2 * theirs


def test_frozen_weights_in_bfloat16_are_not_copied_in_a_bfloat16_step() -> None:
    weight = torch.randn(6, 4, dtype=torch.bfloat16)
    states = torch.randn(3, 4, requires_grad=True)
    down, up = torch.randn(2, 4, requires_grad=True), torch.randn(6, 2, requires_grad=True)
    saved: list[Tensor] = []
    hooks = torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: saved.append(tensor) or tensor, lambda t: t
    )
    with hooks, torch.autocast("cpu", torch.bfloat16):
        output = LoRALinear.apply(states, weight, None, down, up, 1.0, None)
    assert output.dtype == torch.bfloat16
    assert saved[0].data_ptr() == weight.data_ptr()
    output.float().sum().backward()
    assert down.grad is not None
    assert down.grad.dtype == torch.float32


@pytest.mark.parametrize("more", [{"dropout": 0.1}], ids=["dropout"])
def test_an_adapter_that_drops_inputs_keeps_pefts_own_way(small_decoder: Path, more: dict[str, Any]) -> None:
    assert fuse_adapters(with_adapter(small_decoder, **more)) == 0


def test_a_fused_adapter_merges_into_the_same_vectors(small_decoder: Path) -> None:
    model = with_adapter(small_decoder)
    recompute_elementwise(model)
    fuse_adapters(model)
    before = model.encode_query(["parse a date"], task="nl2code")
    after = merge_adapter(model).encode_query(["parse a date"], task="nl2code")
    assert abs(after - before).max() < 1e-6
