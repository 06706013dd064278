"""How many tokens a step may keep for its backward pass; what is beyond is embedded twice (GradCache)."""

import os
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.packing import packed, padded, position_offset
from codequarry.modules.precision import Compute

_SHARE = 0.25  # of the free memory, where a recipe names no bound
_GB = 1e9
# By how much a process grows, over what autograd keeps: what operations take and give back leaves gaps in
# it. 2,431 tokens of Qwen2.5-Coder-0.5B with LoRA kept 3.10 GB, and the process grew by 4.64 GB.
_GROWTH = 1.5


def tokens_that_fit(
    model: CodeEmbedder, precision: Compute, device: str, *, packs: bool, memory_gb: float | None = None
) -> int:
    """Tokens of one rank's step that can be kept without the process growing by more than `memory_gb`.

    Arguments:
        model: as it is trained: adapter, packing and recomputation in place.
        packs: whether it takes packed texts.
        memory_gb: 1e9 bytes; None: a quarter of the memory that is free now.
    """
    memory = _SHARE * free_memory(device) if memory_gb is None else memory_gb * _GB
    return int(memory / (_GROWTH * bytes_per_token(model, precision, packs=packs)))


def bytes_per_token(model: CodeEmbedder, precision: Compute, *, packs: bool) -> float:
    """What a token in a text of full length leaves behind for the backward pass, in all layers.

    Measured: one such text and three go through the model, and the tensors that autograd keeps are counted,
    each storage once, weights left out. The difference leaves out what a step keeps once, as the copies of
    weights that autocast makes.
    """
    few, many = 1, 3
    length = model.max_seq_length or 512
    modes = [(module, module.training) for module in model.modules()]
    model.train()
    sizes = [_kept(model, precision, [[7] * length] * texts, packs) for texts in (few, many)]
    for module, training in modes:
        module.training = training
    return (sizes[1] - sizes[0]) / ((many - few) * length)


def _kept(model: CodeEmbedder, precision: Compute, rows: list[list[int]], packs: bool) -> int:
    """Bytes that autograd keeps of these token ids, weights left out."""
    features = packed(rows, position_offset(model)) if packs else padded(rows)
    features = {
        name: value.to(model.device) if isinstance(value, Tensor) else value
        for name, value in features.items()
    }
    kept: dict[int, Tensor] = {}  # the tensors too: a storage that is freed lends its address to another

    def count(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    half = torch.bfloat16 if precision == "bf16" else torch.float16
    compute = nullcontext() if precision == "fp32" else torch.autocast(model.device.type, half)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor), compute:
        model(features)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    return sum(one.untyped_storage().nbytes() for pointer, one in kept.items() if pointer not in weights)


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
