"""oneDNN's float32 products, taken where they are exact."""

import subprocess
import sys

import pytest
import torch

from codequarry.modules import fast_fp32


def test_what_is_switched_on_is_as_exact_as_float32() -> None:
    """In a process of its own: the switch is the process's."""
    program = (
        "import torch; from codequarry.modules.fast_fp32 import use_fast_fp32; on = use_fast_fp32()\n"
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

    monkeypatch.setattr(fast_fp32, "_products", rounded)
    assert not fast_fp32.use_fast_fp32()
    assert torch.backends.mkldnn.matmul.fp32_precision == before
