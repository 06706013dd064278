"""Whether the activations of a whole batch fit into memory, or GradCache has to embed it twice."""

import os
from pathlib import Path
from typing import Any

import torch

from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.precision import Compute

_SHARE = 0.5  # of the free memory; gradients, optimiser and everybody else live on the rest


def batch_fits(model: CodeEmbedder, tokens: int, precision: Compute, device: str) -> bool:
    """Whether one rank can keep what the backward pass needs of `tokens` tokens, the most a step may have."""
    return tokens * bytes_per_token(model, precision) <= _SHARE * free_memory(device)


def bytes_per_token(model: CodeEmbedder, precision: Compute) -> float:
    """About what a token leaves behind in all layers for the backward pass.

    In each layer eight vectors of the hidden size (inputs of the norms and products, queries, keys, values,
    attention's output, two residuals) and four of the intermediate size; in half precision some twice.
    """
    config: Any = model.config
    numbers = 8 * config.hidden_size + 4 * config.intermediate_size
    return float(config.num_hidden_layers * numbers * (4.0 if precision == "fp32" else 2.6))


def free_memory(device: str) -> int:
    """Bytes that are free now, of the accelerator or of the machine; half of it all where nobody can tell."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info()[0])
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
