import contextlib
import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.recipes.schema import Recipe
from codequarry.training.run_folder import (
    adopt,
    finish,
    is_finished,
    open_run,
    pin_setting,
    recipe_of,
    with_decay,
)

MINI = read_recipe(recipe_path("mini"))


class Model:
    """Writes what a model folder needs; breaks half-way when told to."""

    def __init__(self, breaks: bool = False) -> None:
        self.breaks = breaks

    def save(self, path: str) -> None:
        folder = Path(path)
        (folder / "1_Pooling").mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        if self.breaks:
            raise OSError(errno.ENOSPC, "No space left on device")
        (folder / "model.safetensors").write_bytes(b"weights")


def test_the_same_recipe_and_pairs_come_back_to_their_folder(tmp_path: Path) -> None:
    open_run(tmp_path / "run", MINI, "data", fresh=False)
    open_run(tmp_path / "run", MINI, "data", fresh=False)


def test_a_run_that_began_before_recipes_had_projections_resumes(tmp_path: Path) -> None:
    open_run(tmp_path / "run", MINI, "data", fresh=False)
    file = tmp_path / "run/recipe.json"
    record = json.loads(file.read_text())
    del record["recipe"]["projections"]
    file.write_text(json.dumps(record))
    open_run(tmp_path / "run", MINI, "data", fresh=False)
    with pytest.raises(ValueError, match=r"projections \(\) there and \(768, 384\) here"):
        open_run(tmp_path / "run", replace(MINI, projections=(768, 384)), "data", fresh=False)


def test_another_recipe_is_refused_with_both_names_and_what_differs(tmp_path: Path) -> None:
    open_run(tmp_path, MINI, "data", fresh=False)
    other = replace(MINI, name="mine", max_steps=7)
    with pytest.raises(
        ValueError, match=r"belongs to recipe 'mini'; this is recipe 'mine': max_steps 600 there and 7"
    ):
        open_run(tmp_path, other, "data", fresh=False)
    with pytest.raises(ValueError, match="started on other pairs"):
        open_run(tmp_path, MINI, "other data", fresh=False)


def test_fresh_starts_over_but_not_in_a_folder_that_no_run_wrote(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "precious"
    open_run(run, MINI, "data", fresh=False)
    (run / "checkpoints").mkdir()
    open_run(run, replace(MINI, max_steps=7), "data", fresh=True)
    assert not (run / "checkpoints").exists()
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="no run wrote it"):
        open_run(other, MINI, "data", fresh=True)
    assert (other / "thesis.txt").exists()


def test_a_run_goes_on_with_smaller_parts_of_a_step_and_says_so_in_its_folder(tmp_path: Path) -> None:
    open_run(tmp_path, MINI, "data", fresh=False)
    (tmp_path / "checkpoints").mkdir()
    smaller = replace(MINI, mini_batch_tokens=128, grad_cache="on", memory_gb=2.0)
    open_run(tmp_path, smaller, "data", fresh=False)
    assert (tmp_path / "checkpoints").exists()
    assert json.loads((tmp_path / "recipe.json").read_text())["recipe"]["mini_batch_tokens"] == 128
    with pytest.raises(ValueError, match="max_steps 600 there and 7 here"):
        open_run(tmp_path, replace(smaller, max_steps=7), "data", fresh=False)


def test_a_run_from_before_there_were_prompt_families_resumes_with_that_called_code(tmp_path: Path) -> None:
    open_run(tmp_path, MINI, "data", fresh=False)
    file = tmp_path / "recipe.json"
    record = json.loads(file.read_text())
    assert record["recipe"].pop("prompts") == "code"
    file.write_text(json.dumps(record))
    open_run(tmp_path, MINI, "data", fresh=False)
    assert recipe_of(tmp_path) == MINI


def test_what_a_run_chose_when_it_began_it_keeps_until_it_is_thrown_away(tmp_path: Path) -> None:
    open_run(tmp_path, MINI, "data", fresh=False)
    assert pin_setting(tmp_path, "graph_tokens", 512) == 512
    assert pin_setting(tmp_path, "graph_tokens", 64) == 512
    assert pin_setting(tmp_path, "other", 0) == 0
    open_run(tmp_path, MINI, "data", fresh=True)
    assert pin_setting(tmp_path, "graph_tokens", 64) == 64


STABLE = replace(MINI, scheduler="warmup_stable_decay", decay_steps=100, warmup_ratio=0.02)


def a_run(folder: Path, *steps: int) -> Path:
    """A run of `STABLE` on the pairs "data" that has checkpoints at these steps."""
    open_run(folder, STABLE, "data", fresh=False)
    pin_setting(folder, "graph_tokens", 512)
    for step in steps:
        checkpoint = folder / f"checkpoints/checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "trainer_state.json").write_text("{}")
    return folder


def test_a_decay_ends_a_run_at_its_newest_checkpoint_or_at_a_named_one(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", 200, 300)
    ended, checkpoint = with_decay(STABLE, run, 20)
    assert checkpoint == run / "checkpoints/checkpoint-300"
    assert (ended.max_steps, ended.decay_steps) == (320, 20)
    assert round(ended.warmup_ratio * ended.max_steps) == round(STABLE.warmup_ratio * STABLE.max_steps)
    assert replace(ended, max_steps=600, decay_steps=100, warmup_ratio=0.02) == STABLE
    longer, _ = with_decay(replace(STABLE, max_length=512), run, 20)
    assert longer == replace(ended, max_length=512)
    _, checkpoint = with_decay(STABLE, run / "checkpoints/checkpoint-200", 20)
    assert checkpoint.name == "checkpoint-200"


@pytest.mark.parametrize(
    ("recipe", "steps", "sentence"),
    [
        (STABLE, (), "holds no checkpoint"),
        (replace(STABLE, seed=7), (300,), "another recipe"),
        (STABLE, (5,), "in the warm-up or the decay"),
        (STABLE, (550,), "in the warm-up or the decay"),
    ],
)
def test_what_cannot_be_ended_is_told_apart(
    recipe: Recipe, steps: tuple[int, ...], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=sentence):
        with_decay(recipe, a_run(tmp_path / "run", *steps), 20)


def test_a_rate_that_changes_at_every_step_leaves_nothing_to_decay(tmp_path: Path) -> None:
    open_run(tmp_path, MINI, "data", fresh=False)
    (tmp_path / "checkpoints/checkpoint-100").mkdir(parents=True)
    (tmp_path / "checkpoints/checkpoint-100/trainer_state.json").write_text("{}")
    with pytest.raises(ValueError, match="scheduler = 'linear'"):
        with_decay(MINI, tmp_path, 20)


def test_a_run_begins_at_a_checkpoint_of_another_once_and_leaves_that_one_alone(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", 200, 300)
    ended, checkpoint = with_decay(STABLE, run, 20)
    out = tmp_path / "out"
    open_run(out, ended, "data", fresh=False)
    adopt(out, checkpoint)
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["checkpoint-300"]
    assert pin_setting(out, "graph_tokens", 7) == 512
    (out / "checkpoints/checkpoint-300").rename(out / "checkpoints/checkpoint-310")  # as if it had trained on
    adopt(out, checkpoint)
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["checkpoint-310"]
    assert checkpoint.is_dir()


def test_a_run_does_not_begin_at_a_checkpoint_of_other_pairs(tmp_path: Path) -> None:
    ended, checkpoint = with_decay(STABLE, a_run(tmp_path / "run", 300), 20)
    open_run(tmp_path / "out", ended, "other data", fresh=False)
    with pytest.raises(ValueError, match="trained on other pairs"):
        adopt(tmp_path / "out", checkpoint)


def test_a_kill_while_the_folder_was_claimed_does_not_lock_it(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".recipe.json.4711").write_text('{"half": ')
    open_run(out, MINI, "data", fresh=False)
    assert [file.name for file in out.iterdir()] == ["recipe.json"]


@pytest.mark.parametrize("moves", range(5))
def test_a_kill_while_a_run_is_thrown_away_leaves_no_half_model_and_the_same_command_goes_on(
    moves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after any number of moves, and when what was moved is removed."""
    open_run(tmp_path, MINI, "data", fresh=False)
    finish(tmp_path, Model(), {})
    moved: list[str] = []
    replace_file, remove = Path.replace, shutil.rmtree

    def killed_between(source: Path, target: Path) -> Path:
        if len(moved) == moves:
            raise KeyboardInterrupt
        moved.append(source.name)
        return replace_file(source, target)

    def killed_within(folder: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise KeyboardInterrupt
        remove(folder, ignore_errors=ignore_errors)

    monkeypatch.setattr(Path, "replace", killed_between)
    monkeypatch.setattr(shutil, "rmtree", killed_within)
    with pytest.raises(KeyboardInterrupt):
        open_run(tmp_path, MINI, "data", fresh=True)
    monkeypatch.undo()
    whole = {"1_Pooling", "model.safetensors", "training.json"} <= {file.name for file in tmp_path.iterdir()}
    assert is_finished(tmp_path) == (moves == 0)
    assert whole or moves > 1
    open_run(tmp_path, MINI, "data", fresh=True)
    assert [file.name for file in tmp_path.iterdir()] == ["recipe.json"]


def test_finishing_puts_everything_in_place_and_config_json_makes_it_count(tmp_path: Path) -> None:
    open_run(tmp_path, MINI, "data", fresh=False)
    assert not is_finished(tmp_path)
    finish(tmp_path, Model(), {"steps": 3})
    assert is_finished(tmp_path)
    assert json.loads((tmp_path / "training.json").read_text()) == {"steps": 3}
    assert {file.name for file in tmp_path.iterdir()} == {
        "1_Pooling", "config.json", "model.safetensors", "recipe.json", "training.json",
    }  # fmt: skip


def test_a_model_that_saves_other_prompts_than_it_was_trained_with_is_not_put_in_place(
    tmp_path: Path,
) -> None:
    class Prompted(Model):
        def save(self, path: str) -> None:
            super().save(path)
            file = Path(path) / "config_sentence_transformers.json"
            file.write_text(json.dumps({"prompts": {"query": "q: ", "document": "d: "}}))

    with pytest.raises(ValueError, match=r"other prompts than it saves, at document, qa_query: .*unfinished"):
        finish(tmp_path, Prompted(), {}, prompts={"query": "q: ", "document": "", "qa_query": "q: "})
    assert not is_finished(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    finish(tmp_path, Prompted(), {}, prompts={"query": "q: ", "document": "d: "})
    assert is_finished(tmp_path)


def test_a_disk_that_is_full_leaves_the_run_unfinished_and_its_saving_can_be_repeated(tmp_path: Path) -> None:
    open_run(tmp_path, MINI, "data", fresh=False)
    with pytest.raises(
        ValueError, match=r"the model was not written to .*No space left on device; [\d.]+ .B are"
    ):
        finish(tmp_path, Model(breaks=True), {})
    assert not is_finished(tmp_path)
    finish(tmp_path, Model(), {})
    assert is_finished(tmp_path)


@pytest.mark.parametrize("moves", range(5))
def test_a_stop_after_any_number_of_moves_leaves_the_run_unfinished_until_config_json_the_last(
    moves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1_Pooling, model.safetensors, training.json and config.json are moved; the fifth stop never comes."""
    open_run(tmp_path, MINI, "data", fresh=False)
    moved: list[str] = []
    replace_file = Path.replace

    def stops(source: Path, target: Path) -> Path:
        if source.parent == tmp_path / ".saving" and target.parent == tmp_path:
            if len(moved) == moves:
                raise KeyboardInterrupt
            moved.append(source.name)
        return replace_file(source, target)

    monkeypatch.setattr(Path, "replace", stops)
    with contextlib.suppress(KeyboardInterrupt):
        finish(tmp_path, Model(), {})
    assert is_finished(tmp_path) == (moves == 4)
    monkeypatch.undo()
    finish(tmp_path, Model(), {})
    assert is_finished(tmp_path)
    assert not (tmp_path / ".saving").exists()
