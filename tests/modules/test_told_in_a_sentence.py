"""How a program ends when something is wrong."""

import argparse
import errno
import sys

import pytest

from codequarry.modules.stopping import Stopped
from codequarry.modules.told_in_a_sentence import run_program, told_in_a_sentence


def ended(error: BaseException) -> object:
    with pytest.raises(SystemExit) as end, told_in_a_sentence():
        raise error
    return end.value.code


def test_a_mistake_of_the_users_is_its_sentence() -> None:
    assert ended(ValueError("batch_size 7 is odd.")) == "error: batch_size 7 is odd."


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_place_that_cannot_be_written_is_named(number: int) -> None:
    told = str(ended(OSError(number, "no way", "runs/mini")))
    assert told.startswith("error: runs/mini: no way.")
    assert "the same command then goes on" in told


def test_a_stopped_run_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(Stopped("stopped after step 3")) == 130
    assert capsys.readouterr().err == "stopped after step 3\n"
    assert ended(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == ""


def test_our_own_mistakes_keep_their_traceback() -> None:
    with pytest.raises(OSError, match="odd"), told_in_a_sentence():
        raise OSError(errno.EIO, "odd")
    with pytest.raises(KeyError), told_in_a_sentence():
        raise KeyError("x")


def test_a_program_reads_its_options_and_ends_with_its_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(arguments: argparse.Namespace) -> None:
        raise ValueError(f"{arguments.steps} steps are too many.")

    monkeypatch.setattr(sys, "argv", ["program", "--steps", "9"])
    with pytest.raises(SystemExit) as end:
        run_program("What it does.", lambda parser: parser.add_argument("--steps", type=int) and None, run)
    assert end.value.code == "error: 9 steps are too many."
    monkeypatch.setattr(sys, "argv", ["program", "--help"])
    with pytest.raises(SystemExit):
        run_program("What it does.", lambda parser: None, run)
    assert "What it does." in capsys.readouterr().out
