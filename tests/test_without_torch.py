"""What works where torch is not installed, and what says which command installs it."""

import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "sentence_transformers"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

sys.meta_path.insert(0, Blocked())
"""


def without_torch(program: str, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", BLOCK + program, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


MAIN = "from codequarry.__main__ import main\nmain(sys.argv[1:])"


@pytest.mark.parametrize(
    "words",
    [
        ["benchmark", "mini", "--pairs", "pairs"],
        ["release", "verify", "release"],
        ["serve", "mini"],
    ],
)
def test_a_verb_that_needs_torch_names_the_command_that_installs_it(words: list[str]) -> None:
    done = without_torch(MAIN, *words)
    assert done.returncode == 1
    verb = " ".join(word for word in words[:2] if word in ("benchmark", "release", "verify", "serve"))
    assert done.stderr.startswith(f"error: codequarry {verb} needs ")
    assert "pip install 'codequarry[torch]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_load_names_the_command_that_installs_torch() -> None:
    done = without_torch("import codequarry\ntry: codequarry.load\nexcept ImportError as error: print(error)")
    assert "codequarry.load needs" in done.stdout
    assert "pip install 'codequarry[torch]'" in done.stdout


def test_mining_needs_no_torch(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "a.py").write_text(
        'def total(prices):\n    """Add up the prices of a basket."""\n    return sum(prices)\n'
    )
    done = without_torch(MAIN, "mine", str(code), "--out", str(tmp_path / "pairs"), "--holdout", "0")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pairs/mined.json").is_file()


def test_another_package_that_is_missing_stays_a_fault() -> None:
    done = without_torch(
        "from codequarry.common.errors import torch_as_extra\nwith torch_as_extra('x'):\n    import no_such"
    )
    assert "ModuleNotFoundError: No module named 'no_such'" in done.stderr
