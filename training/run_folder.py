"""A training run's folder: its recipe and data, and the atomic write of the finished model."""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codequarry.common.errors import UserError, full_disk_as_user_error
from codequarry.common.files import read_json, write_json
from codequarry.recipes.read import recipe_from_record
from codequarry.recipes.schema import Recipe
from codequarry.training.checkpoints import newest_complete, step_of, writing_folder

_RUN = "recipe.json"
_CHOICES = "choices.json"
_CHECKPOINTS = "checkpoints"
_CONFIG = "config_sentence_transformers.json"
_MADE_ONCE = ("backbone", "negatives")  # random weights and mined negatives, as a run began with them
_REMOVING = ".removing"
_SAVING = ".saving"
# How a step is computed, not what: the same run resumes with another value.
_MAY_CHANGE = ("mini_batch_tokens", "grad_cache", "memory_gb")


def open_run(out: Path, recipe: Recipe, data_fingerprint: str, *, fresh: bool) -> None:
    """Make `out` the folder of this recipe on this data, or check that it is.

    A run may resume with another `mini_batch_tokens`, `grad_cache` or `memory_gb`, as it must where memory
    ran out.

    Arguments: `data_fingerprint` identifies the pairs; `fresh` removes what the folder holds of an earlier
    run.

    Raises UserError when the folder belongs to another recipe or other pairs (both are named), or holds
    files that no run wrote.
    """
    mine = {"recipe": dataclasses.asdict(recipe), "data_sha256": data_fingerprint}
    shutil.rmtree(out / _REMOVING, ignore_errors=True)
    if (out / _RUN).is_file():
        if fresh:
            _empty(out)
        elif _same(out, recipe, mine):
            return
    elif out.is_dir() and any(not file.name.startswith(f".{_RUN}.") for file in out.iterdir()):
        raise UserError(f"{out} is not empty and holds no {_RUN}, so no run wrote it: choose another --out.")
    out.mkdir(parents=True, exist_ok=True)
    for begun in out.glob(f".{_RUN}.*"):  # a kill came while it was being written
        begun.unlink()
    write_json(out / _RUN, mine)


def pin_setting(out: Path, name: str, choice: int) -> int:
    """The value of a setting when the run in `out` began: `choice` the first time, and the same ever after.

    For what depends on the machine, such as how much fits into free memory: a resumed run must compute as it
    did before, or its losses differ in their last digits.
    """
    file = out / _CHOICES
    choices: dict[str, int] = read_json(file) if file.is_file() else {}
    if name not in choices:
        choices[name] = choice
        write_json(file, choices)
    return choices[name]


def recipe_of(out: Path) -> Recipe:
    """The recipe of the run in `out`. Raises UserError for a folder that no run wrote."""
    if not (out / _RUN).is_file():
        raise UserError(f"{out} holds no {_RUN}, so no run wrote it: pass a run's folder.")
    return recipe_from_record(read_json(out / _RUN)["recipe"])


def with_decay(recipe: Recipe, start: Path, steps: int) -> tuple[Recipe, Path]:
    """The recipe that ends a run of `recipe` in `steps` steps after a checkpoint, and that checkpoint.

    The rate falls to 0 over the steps, as `scheduler = "warmup_stable_decay"` says; the warm-up is as it was.
    The steps may have another `max_length` than the run: most of it is cheaper on short texts.

    Arguments: `start`, a run's folder, whose newest checkpoint is taken, or one of its checkpoints.

    Raises UserError for a folder that is neither, a run of another recipe, and a checkpoint that lies in the
    warm-up or in a decay.
    """
    in_run = start.parent.name == _CHECKPOINTS
    run = start.parent.parent if in_run else start
    checkpoint = start if in_run else newest_complete(start / _CHECKPOINTS, check=False)
    if checkpoint is None or not (checkpoint / "trainer_state.json").is_file():
        raise UserError(
            f"{start} holds no checkpoint: pass a run's folder or RUN/{_CHECKPOINTS}/checkpoint-N."
        )
    if dataclasses.replace(recipe_of(run), max_length=recipe.max_length) != recipe:
        raise UserError(
            f"{run} is a run of another recipe: give the recipe and --set options that it was started with; "
            "max_length alone may be another."
        )
    done, warm = step_of(checkpoint), recipe.warmup_steps
    if recipe.scheduler not in ("warmup_stable_decay", "constant_with_warmup"):
        raise UserError(
            f"the rate of {run} changes at every step (scheduler = {recipe.scheduler!r}): only runs with "
            "'warmup_stable_decay' or 'constant_with_warmup' can be ended anywhere."
        )
    if not warm <= done <= recipe.max_steps - (recipe.decay_steps or 0):
        raise UserError(
            f"{checkpoint} lies in the warm-up or the decay of its run: pass one between the two."
        )
    ended = dataclasses.replace(
        recipe,
        max_steps=done + steps,
        scheduler="warmup_stable_decay",
        decay_steps=steps,
        warmup_ratio=warm / (done + steps),
    )
    return ended, checkpoint


def adopt(out: Path, checkpoint: Path) -> None:
    """Let the run in `out` begin at a checkpoint of another run, unless it already has a checkpoint."""
    run = checkpoint.parent.parent
    if read_json(run / _RUN)["data_sha256"] != read_json(out / _RUN)["data_sha256"]:
        raise UserError(f"{run} was trained on other pairs than the recipe's data folder holds now.")
    if newest_complete(out / _CHECKPOINTS, check=False) is not None:
        return
    for name in (_CHOICES, *_MADE_ONCE):
        if (run / name).is_dir():
            shutil.copytree(run / name, out / name, dirs_exist_ok=True)
        elif (run / name).is_file():
            shutil.copy2(run / name, out / name)
    written = writing_folder(out / _CHECKPOINTS) / checkpoint.name
    shutil.rmtree(written.parent, ignore_errors=True)
    shutil.copytree(checkpoint, written)
    written.rename(out / _CHECKPOINTS / checkpoint.name)
    written.parent.rmdir()


def is_finished(out: Path) -> bool:
    """Whether `out` holds a finished model; `config.json` is put there last."""
    return (out / "config.json").is_file()


def finish(
    out: Path, model: Any, record: dict[str, Any], *, prompts: Mapping[str, str] | None = None
) -> None:
    """Put the model and `training.json` into `out`, so that a kill leaves it unfinished, never half-written.

    Everything is written into a subfolder and moved, `config.json` last: no loader reads a model without it.

    Arguments: `model`, with a method `save`; `prompts`, those that it was trained with; None: without any.

    Raises UserError when the disk is full, and when the model saves other prompts: the run is then left
    unfinished.
    """
    saving = out / _SAVING
    shutil.rmtree(saving, ignore_errors=True)
    advice = "The last checkpoint is whole: make room, and the same command writes the model."
    with full_disk_as_user_error(out, "the model", advice):
        model.save(str(saving))
        write_json(saving / "training.json", record)
    if prompts is not None:
        _check_prompts(out, read_json(saving / _CONFIG).get("prompts"), prompts)
    for file in sorted(saving.iterdir(), key=lambda file: file.name == "config.json"):
        target = out / file.name
        if target.is_dir():
            shutil.rmtree(target)
        file.replace(target)
    saving.rmdir()


def _check_prompts(out: Path, saved: Mapping[str, str] | None, trained: Mapping[str, str]) -> None:
    saved = saved or {}
    if wrong := sorted(name for name in saved.keys() | trained if saved.get(name) != trained.get(name)):
        raise UserError(
            f"the model of {out} was trained with other prompts than it saves, at {', '.join(wrong)}: its "
            f"vectors would be looked up with the wrong words. {out} is left unfinished, its checkpoints as "
            "they are; undo what changed model.prompts, and the same command writes the model."
        )


def _empty(out: Path) -> None:
    """Remove all of `out` but its recipe; a kill leaves an unfinished run, no half model.

    Each entry is moved away whole before anything of it is removed, `config.json` first.
    """
    removing = out / _REMOVING
    removing.mkdir()
    for entry in sorted(out.iterdir(), key=lambda entry: entry.name != "config.json"):
        if entry.name not in (_RUN, _REMOVING):
            entry.replace(removing / entry.name)
    shutil.rmtree(removing)


def _same(out: Path, recipe: Recipe, mine: dict[str, Any]) -> bool:
    """Whether the folder's record equals `mine`; False where only `_MAY_CHANGE` differs.

    Raises UserError for another recipe or other pairs.
    """
    theirs = read_json(out / _RUN)
    other = recipe_from_record(theirs["recipe"])
    advice = "Choose another --out, or pass --fresh to throw that run away and start over."
    changeable = {name: getattr(recipe, name) for name in _MAY_CHANGE}
    if dataclasses.replace(other, **changeable) != recipe:
        before, now = dataclasses.asdict(other), dataclasses.asdict(recipe)
        changed = ", ".join(
            f"{name} {before[name]!r} there and {now[name]!r} here"
            for name in now
            if name != "name" and before[name] != now[name]
        )
        raise UserError(
            f"{out} belongs to recipe {other.name!r}; this is recipe {recipe.name!r}: "
            f"{changed or 'only the name differs'}. {advice}"
        )
    if theirs["data_sha256"] != mine["data_sha256"]:
        raise UserError(f"{out} was started on other pairs than {recipe.data} holds now. {advice}")
    return other == recipe
