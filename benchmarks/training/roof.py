"""What a step has to compute, and the fastest that this machine multiplies matrices."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from codequarry.benchmarks.training.contender import Setup, Step

Format = Literal["fp32", "bf16"]

_SIZES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}  # rows of a square matrix
_TIMES = 3  # products of each size a look


def step_flops(setup: Setup, step: Step) -> float:
    """Floating-point operations that the forward and backward pass of a step need.

        6 · (parameters outside embedding tables) · tokens  +  12 · layers · width · Σ_texts tokens²

    The second term, scores and weighted values, is halved where attention is causal. Work that is done twice
    (GradCache, recomputation) or for nothing (padding) is not counted.
    """
    attention = 12 * setup.layers * setup.width * step.squares / (2 if setup.causal else 1)
    return 6.0 * setup.parameters * step.tokens + attention


@dataclass
class Roof:
    """The best that a large square matrix product has reached so far, in FLOP a second.

    device: `cpu` or `cuda`. format: of the factors. threads: of the products.
    """

    device: str
    format: Format
    threads: int
    best: float = 0.0
    _factors: list[tuple[Any, Any]] = field(default_factory=list, repr=False)

    def look(self) -> None:
        """Multiply a few times; a CPU's time is that of the process where one thread works."""
        import torch

        torch.set_num_threads(self.threads)
        if not self._factors:
            kind = torch.bfloat16 if self.format == "bf16" else torch.float32
            for size in _SIZES[self.device]:
                left, right = (torch.randn(size, size, device=self.device).to(kind) for _ in range(2))
                self._factors.append((left, right))
        now = _CLOCKS[clock_of(self.device, self.threads)]
        for product in self._products():
            for left, right in self._factors * _TIMES:
                self._wait()
                began = now()
                product(left, right)
                self._wait()
                self.best = max(self.best, 2.0 * len(left) ** 3 / (now() - began))

    def _products(self) -> list[Callable[[Any, Any], Any]]:
        import torch

        has_one_dnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        if (self.device, self.format) != ("cpu", "fp32") or not has_one_dnn:
            return [torch.mm]
        # MKL, which torch.mm calls for float32, does not use all that AMD's vector units can: on a Zen 5 it
        # made 93 GFLOP/s where oneDNN, which is in torch too, made 208.
        one_dnn = torch.ops.mkldnn._linear_pointwise
        return [torch.mm, lambda left, right: one_dnn(left, right, None, "none", [], "")]

    def _wait(self) -> None:
        import torch

        if self.device == "cuda":
            torch.cuda.synchronize()


def clock_of(device: str, threads: int) -> Literal["cpu", "wall"]:
    """Which seconds say how fast something is: those of the processor for one thread, else the clock's."""
    return "cpu" if device == "cpu" and threads == 1 else "wall"


_CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}
