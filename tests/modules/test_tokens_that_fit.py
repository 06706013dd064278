"""The estimate by which GradCache is chosen."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from codequarry.modules import tokens_that_fit as module
from codequarry.modules.build import build_model

KEPT = """
import sys, torch
from codequarry.modules.tokens_that_fit import bytes_per_token
from codequarry.modules.build import build_model
from codequarry.modules.packing import use_packing
from codequarry.modules.token_features import packed

kept = {}
def pack(tensor):
    kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return tensor

model = build_model(sys.argv[1], pooling="mean", max_length=256)
assert use_packing(model) is None
for weight in model.parameters():  # the hook sees them too
    kept[weight.untyped_storage().data_ptr()] = 0
weights = set(kept)
features = packed([[7] * 240 for _ in range(4)])
with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
    with torch.autocast("cpu", torch.bfloat16, enabled=sys.argv[2] == "bf16"):
        model(features)
measured = sum(size for pointer, size in kept.items() if pointer not in weights) / 960
print(bytes_per_token(model, sys.argv[2]) / measured)
"""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_estimate_is_near_what_autograd_keeps(minilm: Path, precision: str) -> None:
    words = [sys.executable, "-c", KEPT, str(minilm), precision]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert 0.5 < float(result.stdout) < 2


def test_as_many_tokens_fit_as_free_memory_holds(minilm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(str(minilm), pooling="mean", device="cpu")
    monkeypatch.setattr(module, "free_memory", lambda device: 1 << 30)
    fitting = module.tokens_that_fit(model, "fp32", "cpu")
    assert 0 < fitting * module.bytes_per_token(model, "fp32") <= 1 << 29
    assert module.tokens_that_fit(model, "bf16", "cpu") > fitting
    monkeypatch.setattr(module, "free_memory", lambda device: 2 << 30)
    assert module.tokens_that_fit(model, "fp32", "cpu") == pytest.approx(2 * fitting, abs=2)


def test_free_memory_is_more_than_this_process_has_and_less_than_the_machine() -> None:
    free = module.free_memory("cpu")
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert 1 << 20 < free < (1 << 50) - used
