"""With the errors that a full disk and a full memory really give here."""

import errno
import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from codequarry.modules.out_of_room import disk_is_full, full_disk_is_told, is_out_of_memory

NUMBERS = torch.zeros(200_000)  # 0.8 MB


@contextmanager
def small_files(most: int = 100_000) -> Iterator[None]:
    """No file may grow past `most` bytes, as if the disk were full there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_torch(path: Path) -> None:
    torch.save({"numbers": NUMBERS}, path)


def write_safetensors(path: Path) -> None:
    save_file({"numbers": NUMBERS}, path)


def write_json(path: Path) -> None:
    path.write_text(json.dumps("x" * 200_000))


@pytest.mark.parametrize("write", [write_torch, write_safetensors, write_json])
def test_a_file_that_finds_no_room_is_told_in_a_sentence_by_every_writer(
    write: object, tmp_path: Path
) -> None:
    assert callable(write)
    with (
        pytest.raises(
            ValueError, match=rf"^the model was not written to {tmp_path} \(.+ are free\)\. Go on\.$"
        ),
        full_disk_is_told(tmp_path, "the model", "Go on."),
        small_files(),
    ):
        write(tmp_path / "file")


@pytest.mark.parametrize("write", [write_torch, write_json])
def test_a_disk_without_space_is_recognised(write: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "file").symlink_to("/dev/full")  # safetensors would replace the link
    with pytest.raises((OSError, RuntimeError)) as caught:
        write(tmp_path / "file")
    assert disk_is_full(caught.value)


@pytest.mark.parametrize(
    ("needed", "told"),
    [
        (1 << 60, r"it takes about [\d.]+ GB, and [\d.]+ GB are free: free [\d.]+ GB"),
        (1, r"look at quotas and limits"),
        (None, r"\(No space left on device; [\d.]+ GB are free\)"),
    ],
)
def test_what_is_lacking_is_counted(needed: int | None, told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told), full_disk_is_told(tmp_path, "it", "", needed):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [RuntimeError("shapes"), FileNotFoundError(2, "absent"), ValueError("no")])
def test_other_errors_pass_as_they_are(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught, full_disk_is_told(tmp_path, "it", ""):
        raise error
    assert caught.value is error


def test_memory_that_this_machine_cannot_give_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes differ"))
