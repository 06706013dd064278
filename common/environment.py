"""The machine: processor, versions and number formats, as every results file records them."""

import ipaddress
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from codequarry.common.errors import UserError, without_credentials

_PACKAGES = ("codequarry", "torch", "transformers", "sentence-transformers", "huggingface-hub")


@dataclass(frozen=True)
class Int8Kernels:
    """A family of ONNX Runtime's kernels for matrices of 8 bits.

    flags: of /proc/cpuinfo; a processor that has all of them, and none of an earlier row's, runs this family.
    """

    name: str
    flags: tuple[str, ...]


# The first that a processor has is the one that ONNX Runtime takes for signed weights (its
# mlas/lib/platform.cpp, read at 0112bef); AVX2 and AVX-512 without VNNI saturate with them. Releases have
# unsigned weights (see release/onnx.py), for which it takes the exact 16-bit products of AVX-512 or AVX2
# in every family of x86 and does not use AMX or VNNI.
INT8_KERNELS = (
    Int8Kernels("AMX int8", ("amx_tile", "amx_int8")),
    Int8Kernels("AVX-512 VNNI", ("avx512bw", "avx512dq", "avx512vl", "avx512_vnni")),
    Int8Kernels("AVX-512 without VNNI", ("avx512bw", "avx512dq", "avx512vl")),
    Int8Kernels("AVX-VNNI", ("avx2", "avx_vnni")),
    Int8Kernels("AVX2 without VNNI", ("avx2",)),
    Int8Kernels("SSE2", ("sse2",)),
    Int8Kernels("ARM int8 matrices", ("i8mm",)),
    Int8Kernels("ARM dot product", ("asimddp",)),
    Int8Kernels("ARM NEON", ("asimd",)),
)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`; a name other than localhost is taken as reachable."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def processor() -> str:
    """The processor's own name, e.g. `AMD EPYC`; `platform.processor()` where there is no /proc/cpuinfo."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def int8_kernels() -> str:
    """The name of the `INT8_KERNELS` that this processor runs; `unknown` where there is no /proc/cpuinfo."""
    # ARM calls its flags features.
    flags = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return next((row.name for row in INT8_KERNELS if flags.issuperset(row.flags)), "unknown")


def bf16_instructions() -> tuple[str, ...]:
    """Which of `avx512_bf16` and `amx_bf16` the processor has."""
    flags = _cpuinfo("flags").split()
    return tuple(name for name in ("avx512_bf16", "amx_bf16") if name in flags)


TESTED_DEVICES = ("cpu",)  # of training; no GPU has run it yet


def chosen_device(asked: str | None = None) -> str:
    """The kind of device to compute on: `cuda`, `mps`, `xpu`, … as torch names it.

    Arguments: `asked`, a kind; None: the accelerator that torch has here, or else the processor.

    Raises UserError for a kind that torch does not know, or does not have here.
    """
    import torch

    found = torch.accelerator.current_accelerator(check_available=True)
    here = found.type if found is not None else "cpu"
    if asked is None:
        return here
    try:
        kind = torch.device(asked).type
    except RuntimeError as error:
        raise UserError(f"device {asked!r} is none that torch knows: pass cpu or {here}.") from error
    if kind not in ("cpu", here) or asked != kind:
        have = "the processor (cpu) only" if here == "cpu" else f"cpu and {here}"
        raise UserError(
            f"device {asked!r} is not what torch has here, {have}: pass the name of one of these."
        )
    return kind


def has_fast_bf16(device: str) -> bool:
    """Whether bf16 arithmetic is faster than fp32 on `device` (`cpu`, `cuda`, …).

    On a CPU: with AMX, or with AVX-512's bf16 instructions on AMD, which double the speed of matrix products.
    Intel's processors run these instructions at half the rate: without AMX, bf16 takes 1.7 times as long as
    fp32 (`benchmarks/LOG.md`, 2026-11-30), as it does, emulated, on processors without either.
    """
    if device.startswith("cuda"):
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = bf16_instructions()
    is_amd = _cpuinfo("vendor_id") == "AuthenticAMD"
    return device == "cpu" and ("amx_bf16" in found or ("avx512_bf16" in found and is_amd))


def has_int8_products() -> bool:
    """Whether the processor multiplies 8-bit integers into 32-bit sums in one instruction (x86).

    Without it oneDNN adds two products in 16 bits, where they may not fit, and gains little.
    """
    return int8_kernels() in ("AMX int8", "AVX-512 VNNI", "AVX-VNNI")


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
    elif (kind := chosen_device()) != "cpu":
        facts["accelerator"] = kind
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
    return _fields_of_cpuinfo(path).get(field, "") if path.exists() else ""


@cache  # each query asks, and a machine of many cores takes milliseconds to write the file
def _fields_of_cpuinfo(path: Path) -> dict[str, str]:
    """The first value of each field."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    return found


def peak_memory(process: int | str = "self") -> int | None:
    """The most bytes of memory that a process has held; None where the system does not say.

    Arguments: `process`, its id; "self" for this one.
    """
    status = Path(f"/proc/{process}/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8").splitlines()
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
    if process != "self":
        return None
    import resource  # second choice: it counts in what the parent held when it started this process

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def origin(command: str) -> dict[str, Any]:
    """The command that made figures, with today's date, this machine and the versions installed on it."""
    return {
        "command": command,
        "date": date.today().isoformat(),
        "hardware": describe_machine(),
        "versions": package_versions(),
    }


def written_command(program: str = "codequarry", words: Sequence[str] | None = None) -> str:
    """The command line as results files keep it: a folder of this machine by its last name only, an address
    without credentials.

    Arguments:
        program: what is typed before the words.
        words: those that were typed; None: this process's.
    """
    given = sys.argv[1:] if words is None else words
    return " ".join([program, *(_without_folders(word) for word in given)])


def _without_folders(word: str) -> str:
    option, equals, value = word.rpartition("=")
    return f"{option}{equals}{Path(value).name}" if value.startswith("/") else without_credentials(word)
