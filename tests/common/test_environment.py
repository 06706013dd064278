import sys

import pytest
import torch

from codequarry.common import environment
from codequarry.common.environment import (
    INT8_KERNELS,
    chosen_device,
    has_fast_bf16,
    int8_kernels,
    origin,
    written_command,
)

# Of /proc/cpuinfo, as far as 8 bits are concerned.
AVX2 = "fpu sse2 avx avx2 fma"

AVX512 = f"{AVX2} avx512f avx512bw avx512dq avx512vl"


@pytest.mark.parametrize("row", INT8_KERNELS, ids=lambda row: row.name)
def test_a_row_is_not_hidden_by_an_earlier_one(
    row: environment.Int8Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, " ".join(row.flags))
    assert int8_kernels() == row.name


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (AVX2, "AVX2 without VNNI"),
        (f"{AVX2} avx_vnni", "AVX-VNNI"),
        (AVX512, "AVX-512 without VNNI"),
        (f"{AVX512} avx512_vnni avx512_bf16", "AVX-512 VNNI"),
        (f"{AVX512} avx512_vnni avx_vnni amx_bf16 amx_tile amx_int8", "AMX int8"),
        ("fp asimd asimddp", "ARM dot product"),
        ("", "unknown"),
    ],
)
def test_a_processor_runs_the_best_family_that_it_has(
    flags: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, flags)
    assert int8_kernels() == expected


def test_the_flags_of_arm_have_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, "fp asimd asimddp i8mm", name="Features")
    assert int8_kernels() == "ARM int8 matrices"


def test_without_cpuinfo_the_family_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.Path, "exists", lambda path: False)
    assert int8_kernels() == "unknown"
    assert environment.processor()


def give(monkeypatch: pytest.MonkeyPatch, flags: str, name: str = "flags") -> None:
    monkeypatch.setattr(environment, "_cpuinfo", lambda field: {name: flags}.get(field, ""))


@pytest.mark.parametrize(
    ("flags", "vendor", "fast"),
    [
        (AVX2, "AuthenticAMD", False),
        (f"{AVX512} avx512_bf16", "AuthenticAMD", True),
        (f"{AVX512} avx512_bf16", "GenuineIntel", False),
        (f"{AVX512} avx512_bf16 amx_bf16", "GenuineIntel", True),
        ("", "", False),
    ],
)
def test_bf16_is_fast_with_amx_and_on_amd_with_avx512(
    flags: str, vendor: str, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"flags": flags, "vendor_id": vendor}
    monkeypatch.setattr(environment, "_cpuinfo", lambda field: known.get(field, ""))
    assert has_fast_bf16("cpu") == fast
    assert not has_fast_bf16("mps")


def test_a_written_command_names_no_folder_of_this_machine() -> None:
    words = ["benchmark", "runs/mini", "--data", "/home/me/eval", "--out=/tmp/x"]
    assert written_command(words=words) == "codequarry benchmark runs/mini --data eval --out=x"


def test_a_program_is_written_with_the_words_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/home/me/kills.py", "nano", "--work", "/home/me/runs"])
    assert written_command("python -m kills") == "python -m kills nano --work runs"


def test_figures_come_with_command_day_machine_and_versions() -> None:
    found = origin("codequarry benchmark mini")
    assert list(found) == ["command", "date", "hardware", "versions"]
    assert found["hardware"]["processor"]
    assert found["versions"]["torch"]


@pytest.mark.parametrize("there", ["cuda", "mps", "xpu", None])
def test_the_accelerator_that_torch_has_is_chosen_unless_another_device_is_named(
    there: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = torch.device(there) if there else None
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: found)
    assert chosen_device() == (there or "cpu")
    assert chosen_device("cpu") == "cpu"
    if there:
        assert chosen_device(there) == there
    for absent in {"cuda", "mps", "xpu", "cuda:1"} - {there}:
        with pytest.raises(ValueError, match=f"device '{absent}' is not what torch has here"):
            chosen_device(absent)
    with pytest.raises(ValueError, match="device 'warp' is none that torch knows"):
        chosen_device("warp")
