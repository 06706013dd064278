import sys

import pytest

from codequarry.benchmarks.origin import origin, written_command


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
