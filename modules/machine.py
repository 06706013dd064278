"""What this machine is: the facts that stand beside every figure measured on it."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("codequarry", "torch", "transformers", "sentence-transformers", "huggingface-hub")


def processor() -> str:
    """The processor's own name, e.g. `AMD EPYC`; the platform's word where there is no /proc/cpuinfo."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def bf16_instructions() -> tuple[str, ...]:
    """Which of `avx512_bf16` and `amx_bf16` the processor has; bf16 is slower than fp32 without either."""
    flags = _cpuinfo("flags").split()
    return tuple(name for name in ("avx512_bf16", "amx_bf16") if name in flags)


def has_fast_bf16(device: str) -> bool:
    """Whether bf16 arithmetic is faster than fp32 on `device` (`cpu`, `cuda`, …)."""
    if device.startswith("cuda"):
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and bool(bf16_instructions())


@contextmanager
def fast_autocast(device: str) -> Iterator[None]:
    """While this lasts, models compute in bf16 where that is faster on `device`, in fp32 elsewhere."""
    if not has_fast_bf16(device):
        yield
        return
    import torch

    with torch.autocast(device, dtype=torch.bfloat16):
        yield


def describe_machine() -> dict[str, object]:
    """Processor, cores, memory, instructions and accelerator, as plain data for a results file."""
    import torch

    facts: dict[str, object] = {
        "processor": processor(),
        "bf16_instructions": list(bf16_instructions()),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
    }
    if torch.cuda.is_available():
        facts["accelerator"] = torch.cuda.get_device_name(0)
    return facts


def package_versions() -> dict[str, str]:
    """The installed version of every package that decides what a vector is."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cpuinfo(field: str) -> str:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""
