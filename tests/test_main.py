import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from codequarry.__main__ import main
from codequarry.modules.build import build_model
from codequarry.modules.tasks import TASKS
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.training.run_folder import finish, open_run


def test_help_comes_in_under_a_second_and_names_every_verb() -> None:
    took = []
    for _ in range(3):
        start = time.perf_counter()
        result = subprocess.run(
            [sys.executable, "-m", "codequarry", "--help"], capture_output=True, text=True
        )
        took.append(time.perf_counter() - start)
    assert min(took) < 1
    assert all(verb in result.stdout for verb in ("search", "mine", "train", "benchmark", "release"))


def test_a_mistake_ends_with_a_sentence_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (
        ["search", "x", str(tmp_path / "absent")],
        ["search", "x", str(tmp_path), "--model", "./absent"],
        ["mine", str(tmp_path / "absent"), "--out", str(tmp_path / "out")],
        ["train", "no-such-recipe", "--out", str(tmp_path / "run")],
        ["benchmark", "mini", "--pairs", str(tmp_path / "absent")],
        ["release", "build", str(tmp_path), "--out", str(tmp_path / "release")],
        ["release", "verify", str(tmp_path / "absent")],
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert str(ended.value.code).startswith("error: ") or ended.value.code == 1, words


def test_mine_then_search_from_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    code = tmp_path / "code"
    code.mkdir()
    (code / "mail.py").write_text(
        'def send(to):\n    """Send an email message to one address."""\n    connect()\n    return post(to)\n'
    )
    (code / "sums.py").write_text(
        'def mean(xs):\n    """Compute the mean."""\n    total = sum(xs)\n    return total / len(xs)\n'
    )
    main(["mine", str(code), "--out", str(tmp_path / "pairs"), "--holdout", "0"])
    assert "nl2code" in capsys.readouterr().out
    main(["search", "average of a list of numbers", str(code), "--json", "--top", "1"])
    answers = json.loads(capsys.readouterr().out)
    assert answers["hits"][0]["path"] == "sums.py"


def test_release_from_the_command_ends_with_1_once_a_byte_is_changed(
    tmp_path: Path, minilm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = read_recipe(recipe_path("mini"))
    open_run(tmp_path / "run", recipe, "none", fresh=False)
    model = build_model(str(minilm), pooling="mean", dims=recipe.matryoshka_dims)
    finish(tmp_path / "run", model, {"recipe": asdict(recipe)})
    built = ["--out", str(tmp_path / "release"), "--dtype", "bf16", "--in-memory", "fp32"]
    main(["release", "build", str(tmp_path / "run"), *built])
    assert json.loads((tmp_path / "release/config.json").read_text())["dtype"] == "float32"
    main(["release", "verify", str(tmp_path / "release")])
    assert "release: verified" in capsys.readouterr().out
    card = tmp_path / "release/README.md"
    card.write_text(card.read_text() + ".")
    with pytest.raises(SystemExit) as ended:
        main(["release", "verify", str(tmp_path / "release")])
    assert ended.value.code == 1
    assert "README.md" in capsys.readouterr().out


def test_every_task_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["search", "--help"])
    page = capsys.readouterr().out
    assert all(task in page for task in TASKS)
