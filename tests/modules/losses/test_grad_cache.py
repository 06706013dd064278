"""The estimate by which GradCache is chosen."""

import random
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.lora_linear import fuse_adapters
from codequarry.modules.losses import grad_cache as module
from codequarry.modules.packing import packed, padded, use_packing
from codequarry.modules.recomputation import recompute_elementwise
from codequarry.training.lora import add_adapter


@pytest.fixture(scope="module")
def decoder(small_decoder: Path) -> CodeEmbedder:
    model = build_model(str(small_decoder), max_length=64, device="cpu")
    add_adapter(model, rank=4, alpha=8.0)
    return model


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("packs", [True, False], ids=["packed", "padded"])
def test_each_token_of_a_step_adds_what_was_measured(minilm: Path, precision: Any, packs: bool) -> None:
    model = build_model(str(minilm), pooling="mean", max_length=64, device="cpu")
    if packs:
        assert use_packing(model) is None
    for part in model.modules():  # whose masks would be kept in training only
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    measured = module.bytes_per_token(model, precision, packs=packs)
    four, eight = (module._kept(model, precision, [[7] * 64] * texts, packs) for texts in (4, 8))
    assert (eight - four) / (4 * 64) == pytest.approx(measured, rel=0.03)


def test_it_counts_what_a_real_step_keeps_in_memory(minilm: Path) -> None:
    """Against the growth of a process: what autograd reports is what the machine gives."""
    result = subprocess.run([sys.executable, "-c", GROWTH, str(minilm)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    measured, grown = map(float, result.stdout.split())
    assert 0.6 * grown < measured < 1.4 * grown


GROWTH = """
import sys
from pathlib import Path
import torch
from codequarry.modules.build import build_model
from codequarry.modules.packing import packed, padded, use_packing
from codequarry.modules.packing import packed
from codequarry.modules.losses.grad_cache import bytes_per_token

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

torch.set_num_threads(1)
model = build_model(sys.argv[1], pooling="mean", max_length=128, device="cpu")
assert use_packing(model) is None
measured = bytes_per_token(model, "fp32", packs=True)
features = packed([[7] * 128] * 32)
model(features)
before = resident()
output = model(features)
print(measured, (resident() - before) / (32 * 128))
"""


def test_recomputation_and_one_function_per_adapter_let_more_tokens_fit(decoder: CodeEmbedder) -> None:
    assert use_packing(decoder) is None
    before = module.tokens_that_fit(decoder, "fp32", "cpu", packs=True, memory_gb=1.0)
    recompute_elementwise(decoder)
    fuse_adapters(decoder)
    assert module.tokens_that_fit(decoder, "fp32", "cpu", packs=True, memory_gb=1.0) > 1.2 * before


def test_memory_is_what_the_recipe_says_or_a_quarter_of_what_is_free(
    minilm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_model(str(minilm), pooling="mean", max_length=64, device="cpu")
    monkeypatch.setattr(module, "free_memory", lambda device: 4_000_000_000)
    fitting = module.tokens_that_fit(model, "fp32", "cpu", packs=False)
    assert fitting == module.tokens_that_fit(model, "fp32", "cpu", packs=False, memory_gb=1.0)
    assert 2 * fitting == pytest.approx(
        module.tokens_that_fit(model, "fp32", "cpu", packs=False, memory_gb=2.0), abs=2
    )


def test_the_model_is_left_in_the_mode_it_was_in_and_without_gradients(minilm: Path) -> None:
    model = build_model(str(minilm), pooling="mean", max_length=64, device="cpu").eval()
    module.bytes_per_token(model, "fp32", packs=False)
    assert not any(part.training for part in model.modules())
    assert all(weight.grad is None for weight in model.parameters())


def test_free_memory_is_more_than_this_process_has_and_less_than_the_machine() -> None:
    free = module.free_memory("cpu")
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert 1 << 20 < free < (1 << 50) - used


def cut(lengths: list[int], limit: int, packs: bool) -> list[list[int]]:
    texts = [[7] * length for length in lengths]
    column = packed(texts) if packs else padded(texts)
    return [lengths[one.begin : one.end] for one in module._mini_batches(0, column, limit)]


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("limit", [512, 4096, 32768])
@pytest.mark.parametrize("in_order", [True, False])
def test_mini_batches_are_bounded_in_tokens_and_in_scores(packs: bool, limit: int, in_order: bool) -> None:
    chance = random.Random(limit)
    lengths = [chance.choice((3, 20, 60, 200, 900, 2500)) + chance.randrange(50) for _ in range(80)]
    if in_order:
        lengths.sort(reverse=True)
    found = cut(lengths, limit, packs)
    assert [length for part in found for length in part] == lengths, "every text, in its order"
    for part in found:
        scores, needed = len(part) * max(part) ** 2, sum(length**2 for length in part)
        assert len(part) == 1 or len(part) * max(part) <= limit
        assert len(part) == 1 or scores <= limit * 512
        assert scores <= max(2 * needed, 2**18)


def test_one_long_text_is_not_paid_for_by_the_short_ones_with_it() -> None:
    lengths = [2000, *[20] * 60]
    assert cut(lengths, 32768, True) == [[2000, 20], [20] * 59], "at most twice its own square"
    assert cut([100] * 40, 4096, True) == [[100] * 40], "texts of one length are together by their tokens"
    assert cut([256, *[40] * 3], 4096, True) == [[256, 40, 40, 40]], "few scores are not worth a cut"
