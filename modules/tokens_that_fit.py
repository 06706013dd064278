"""How many tokens a step may keep for its backward pass; a larger one is embedded twice (GradCache)."""

import os
from pathlib import Path
from typing import Any

import torch

from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.precision import Compute

# Of the free memory. What autograd keeps is about half of a step's height (measured on a CPU).
_SHARE = 0.4


def tokens_that_fit(model: CodeEmbedder, precision: Compute, device: str) -> int:
    """Tokens of one rank's step whose activations fit into the memory that is free now."""
    return int(_SHARE * free_memory(device) / bytes_per_token(model, precision))


def bytes_per_token(model: CodeEmbedder, precision: Compute) -> float:
    """About what a token in a text of full length leaves behind in all layers for the backward pass.

    In each layer eight vectors of the hidden size (inputs of norms and products, queries, keys, values,
    attention's output, two residuals) and four of the intermediate size, at 3.1 bytes a number in bf16,
    where some are kept in float32 too, and 4.6 in float32; and attention's weights, one a head and token
    that it looks at. Measured on a decoder; an encoder keeps a third less.
    """
    config: Any = model.config
    numbers = 8 * config.hidden_size + 4 * config.intermediate_size
    looks = config.num_attention_heads * (model.max_seq_length or 0)
    a_number, a_look = (4.6, 4) if precision == "fp32" else (3.1, 2)
    return float(config.num_hidden_layers * (numbers * a_number + looks * a_look))


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
