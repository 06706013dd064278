import subprocess
import sys
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING

from codequarry.modules import precision
from codequarry.modules.precision import (
    FLOAT16_OVERFLOWS,
    check_float16,
    check_weights,
    chosen_precision,
    precision_line,
    stored_weights,
)


@pytest.mark.parametrize("row", FLOAT16_OVERFLOWS, ids=lambda row: row.architecture)
def test_a_row_names_an_architecture_of_transformers_and_a_source(row: precision.Float16Overflow) -> None:
    assert row.architecture in CONFIG_MAPPING
    assert row.source.startswith("https://github.com/")
    with pytest.raises(ValueError, match=f"'fp16' with a {row.architecture} backbone: .*{row.source}.*bf16"):
        check_float16(row.architecture)
    with pytest.raises(ValueError, match="'fp16'"):
        chosen_precision("fp16", device="cuda", architecture=row.architecture)


def test_an_architecture_is_in_the_table_once() -> None:
    assert len({row.architecture for row in FLOAT16_OVERFLOWS}) == len(FLOAT16_OVERFLOWS)


@pytest.mark.parametrize(
    ("asked", "device", "fast_bf16", "expected"),
    [
        ("auto", "cpu", True, "bf16"),
        ("auto", "cpu", False, "fp32"),
        ("auto", "cuda", True, "bf16"),
        ("auto", "cuda", False, "fp32"),
        ("bf16", "cpu", True, "bf16"),
        ("bf16", "cpu", False, "fp32"),
        ("bf16", "mps", False, "fp32"),
        ("auto", "mps", False, "fp32"),
        ("fp16", "cuda", False, "fp16"),
        ("fp32", "cuda", True, "fp32"),
    ],
)
def test_auto_is_bf16_where_the_hardware_has_it_and_never_float16(
    asked: precision.Precision, device: str, fast_bf16: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: fast_bf16)
    assert chosen_precision(asked, device=device, architecture="bert") == expected


def test_bf16_without_fast_instructions_is_said_to_become_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: False)
    said = precision_line("bf16", chosen_precision("bf16", device="cpu", architecture="bert"), device="cpu")
    assert said is not None
    assert "this processor has no fast bf16: the run computes in fp32" in said
    kept = chosen_precision("bf16", device="cpu", architecture="bert", weights="bfloat16")
    assert kept == "bf16", "weights in bf16 compute in bf16"
    assert "1.7 to 20 times" in str(precision_line("bf16", kept, device="cpu"))
    for other in ("auto", "fp32"):
        assert precision_line(other, "fp32", device="cpu") is None  # type: ignore[arg-type]
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: True)
    assert precision_line("bf16", "bf16", device="cpu") is None


@pytest.mark.parametrize(
    ("architecture", "advice"), [("bert", "pass 'fp32' or 'fp16'"), ("qwen2", "pass 'fp32'[.]$")]
)
def test_bf16_on_a_gpu_that_emulates_it_is_refused_with_what_works(
    architecture: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: False)
    with pytest.raises(ValueError, match=advice):
        chosen_precision("bf16", device="cuda:0", architecture=architecture)


def test_float16_on_a_cpu_is_refused() -> None:
    with pytest.raises(ValueError, match="CUDA devices only"):
        chosen_precision("fp16", device="cpu", architecture="bert")


@pytest.mark.parametrize("other", ["fp16", "fp32"])
def test_bf16_weights_are_not_computed_in_another_format(other: precision.Precision) -> None:
    check_weights("bfloat16", "auto")
    check_weights("float32", other)
    with pytest.raises(ValueError, match=f"precision = '{other}'"):
        check_weights("bfloat16", other)


@pytest.mark.parametrize(
    ("weights", "chosen", "fast", "frozen", "stored"),
    [
        ("auto", "auto", True, True, "bfloat16"),
        ("auto", "bf16", False, True, "float32"),
        ("auto", "bf16", True, True, "bfloat16"),
        ("auto", "auto", False, True, "float32"),
        ("auto", "fp32", True, True, "float32"),
        ("auto", "auto", True, False, "float32"),
        ("bfloat16", "auto", False, False, "bfloat16"),
        ("float32", "bf16", True, True, "float32"),
    ],
)
def test_frozen_weights_are_stored_in_the_type_that_a_step_computes_in(
    weights: Any, chosen: Any, fast: bool, frozen: bool, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: fast)
    assert stored_weights(weights, chosen, device="cpu", frozen=frozen) == stored


def test_what_is_switched_on_is_as_exact_as_float32() -> None:
    """In a process of its own: the switch is the process's."""
    program = (
        "import torch; from codequarry.modules.precision import use_fast_fp32; on = use_fast_fp32()\n"
        "a, b = torch.randn(700, 900), torch.randn(900, 500)\n"
        "exact = a.double() @ b.double()\n"
        "print(on, float((a @ b - exact).abs().max() / exact.abs().max()))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    on, error = result.stdout.split()
    assert on in ("True", "False")
    assert float(error) < 1e-5


def test_products_rounded_to_bf16_are_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.backends.mkldnn.matmul.fp32_precision

    def rounded(left: torch.Tensor, right: torch.Tensor) -> list[torch.Tensor]:
        return [(left.bfloat16() @ right.bfloat16()).float()]

    monkeypatch.setattr(precision, "_products", rounded)
    assert not precision.use_fast_fp32()
    assert torch.backends.mkldnn.matmul.fp32_precision == before
