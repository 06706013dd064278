"""How a program ends when something is wrong."""

import argparse
import errno
import json
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from codequarry.common.errors import (
    UserError,
    did_you_mean,
    disk_is_full,
    exit_on_user_error,
    full_disk_as_user_error,
    is_out_of_memory,
    run_program,
)
from codequarry.training.callbacks import Stopped


def ended(error: BaseException) -> object:
    with pytest.raises(SystemExit) as end, exit_on_user_error():
        raise error
    return end.value.code


def test_a_mistake_of_the_users_is_its_sentence() -> None:
    assert ended(UserError("batch_size 7 is odd.")) == "error: batch_size 7 is odd."


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_place_that_cannot_be_written_is_named(number: int) -> None:
    told = str(ended(OSError(number, "no way", "runs/mini")))
    assert told.startswith("error: runs/mini: no way.")
    assert "the same command then resumes" in told


def test_a_stopped_run_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(Stopped("stopped after step 3")) == 130
    assert capsys.readouterr().err == "stopped after step 3\n"
    assert ended(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [ValueError("zip()"), RuntimeError("shapes"), KeyError("x")])
def test_any_other_exception_is_a_fault_of_the_program_and_asks_for_a_report(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(type(error)), exit_on_user_error():
        raise error
    assert capsys.readouterr().err.startswith("This is a fault of codequarry")


def test_our_own_mistakes_keep_their_traceback() -> None:
    with pytest.raises(OSError, match="odd"), exit_on_user_error():
        raise OSError(errno.EIO, "odd")
    with pytest.raises(KeyError), exit_on_user_error():
        raise KeyError("x")


def test_a_program_reads_its_options_and_ends_with_its_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(arguments: argparse.Namespace) -> None:
        raise UserError(f"{arguments.steps} steps are too many.")

    monkeypatch.setattr(sys, "argv", ["program", "--steps", "9"])
    with pytest.raises(SystemExit) as end:
        run_program("What it does.", lambda parser: parser.add_argument("--steps", type=int) and None, run)
    assert end.value.code == "error: 9 steps are too many."
    monkeypatch.setattr(sys, "argv", ["program", "--help"])
    with pytest.raises(SystemExit):
        run_program("What it does.", lambda parser: None, run)
    assert "What it does." in capsys.readouterr().out


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


@pytest.mark.parametrize(
    "message",
    [
        "Error while serializing: I/O error: No space left on device (os error 28)",
        'IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })',
    ],
    ids=["new", "old"],
)
def test_safetensors_gives_the_number_in_two_ways(message: str) -> None:
    assert disk_is_full(RuntimeError(message)) == "No space left on device"
    assert disk_is_full(RuntimeError(message.replace("28", "5"))) is None


@pytest.mark.parametrize("write", [write_torch, write_safetensors, write_json])
def test_a_file_that_finds_no_room_is_told_in_a_sentence_by_every_writer(
    write: object, tmp_path: Path
) -> None:
    assert callable(write)
    with (
        pytest.raises(
            ValueError, match=rf"^the model was not written to {tmp_path} \(.+ are free\)\. Go on\.$"
        ),
        full_disk_as_user_error(tmp_path, "the model", "Go on."),
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
    with pytest.raises(ValueError, match=told), full_disk_as_user_error(tmp_path, "it", "", needed):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [RuntimeError("shapes"), FileNotFoundError(2, "absent"), ValueError("no")])
def test_other_errors_pass_as_they_are(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught, full_disk_as_user_error(tmp_path, "it", ""):
        raise error
    assert caught.value is error


def test_memory_that_this_machine_cannot_give_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes differ"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [("nl2cod", " Did you mean 'nl2code'?"), ("zzz", ""), ("", ""), (7, "")],
)
def test_the_nearest_name_is_suggested_and_only_a_near_one(name: object, hint: str) -> None:
    assert did_you_mean(name, ["nl2code", "code2code", "qa"]) == hint
