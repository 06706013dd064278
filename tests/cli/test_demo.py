"""The demo ends in a sentence, whenever it is interrupted and whatever is full."""

import errno
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codequarry.cli import demo as module
from codequarry.common.errors import UserError


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (KeyboardInterrupt(), "Stopped. What was finished is in "),
        (OSError(errno.ENOSPC, "No space left on device", "pairs"), "No space left on device"),
        (
            RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "Free some space",
        ),
    ],
)
def test_an_interruption_and_a_full_disk_are_one_sentence_each(
    raised: BaseException,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: object) -> None:
        raise raised

    monkeypatch.setattr(module, "demo", stop)
    with pytest.raises(SystemExit) as ended:
        module.main(["--work", str(tmp_path / "work")])
    words = f"{ended.value.code} {capsys.readouterr().err}"
    assert said in words
    assert "Traceback" not in words
    assert ended.value.code == 130 or str(ended.value.code).startswith("error: ")


def test_ctrl_c_while_it_imports_leaves_no_traceback(tmp_path: Path) -> None:
    shutil.copytree(Path(module.__file__).parent, tmp_path / "code")  # which it does not end in a second
    words = [
        sys.executable,
        "-m",
        "codequarry.cli.demo",
        "--code",
        str(tmp_path / "code"),
        "--work",
        str(tmp_path / "work"),
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        while not (tmp_path / "work").exists():
            time.sleep(0.01)
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate()
    # Where the signal falls into an exec() of a text, as of every dataclass, Python ends itself by the same
    # signal after all; shells report both as 130.
    assert running.returncode in (130, -signal.SIGINT)
    assert errors.startswith("Stopped. What was finished is in ")
    assert "Traceback" not in errors


def test_a_work_folder_that_is_a_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("")
    with pytest.raises(SystemExit, match="is a file: pass --work with a folder"):
        module.main(["--work", str(tmp_path / "work")])


def test_a_release_that_stock_sentence_transformers_cannot_load_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sentence-transformers alone could not load"):
        module._load_with_stock(tmp_path / "absent")


@pytest.mark.parametrize("base", module.BASES.values(), ids=lambda base: base.name)
def test_each_base_is_a_shipped_model_that_its_recipe_trains(base: module.Base) -> None:
    from codequarry.modules.backbone import SHIPPED
    from codequarry.recipes.read import read_recipe, recipe_path

    assert base.name in SHIPPED
    assert read_recipe(recipe_path(base.recipe)).backbone.name == base.name
    target = base.command.removeprefix("make ")
    assert target in (Path(__file__).parents[2] / "Makefile").read_text("utf-8")
