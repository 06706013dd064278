"""A training run's folder: whose it is, and how the finished model gets into it whole."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any, Protocol

from codequarry.modules.whole_files import write_json
from codequarry.recipes.read import recipe_from_record
from codequarry.recipes.schema import Recipe

_RUN = "recipe.json"


class Savable(Protocol):
    """A model that writes itself into a folder."""

    def save(self, path: str) -> None: ...


def claim(out: Path, recipe: Recipe, data_fingerprint: str, *, fresh: bool) -> None:
    """Make `out` the folder of this recipe on this data, or keep it so.

    Arguments: `data_fingerprint` identifies the pairs; `fresh` throws away what the folder holds of an
    earlier run.

    Raises ValueError when the folder belongs to another recipe or other pairs (both are named), or holds
    files that no run wrote.
    """
    mine = {"recipe": dataclasses.asdict(recipe), "data_sha256": data_fingerprint}
    if (out / _RUN).is_file():
        if fresh:
            shutil.rmtree(out)
        else:
            _check_same(out, recipe, mine)
    elif out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty and holds no {_RUN}, so no run wrote it: choose another --out.")
    if not (out / _RUN).is_file():
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / _RUN, mine)


def is_finished(out: Path) -> bool:
    """Whether `out` holds a finished model; `config.json` is put there last."""
    return (out / "config.json").is_file()


def finish(out: Path, model: Savable, record: dict[str, Any]) -> None:
    """Put the model and `training.json` into `out`, so that a kill leaves it unfinished, never half-written.

    Everything is written into a folder beside and moved, `config.json` last: no loader reads a model
    without it.
    """
    beside = out / ".saving"
    shutil.rmtree(beside, ignore_errors=True)
    model.save(str(beside))
    write_json(beside / "training.json", record)
    for file in sorted(beside.iterdir(), key=lambda file: file.name == "config.json"):
        target = out / file.name
        if target.is_dir():
            shutil.rmtree(target)
        file.replace(target)
    beside.rmdir()


def _check_same(out: Path, recipe: Recipe, mine: dict[str, Any]) -> None:
    theirs = json.loads((out / _RUN).read_text(encoding="utf-8"))
    other = recipe_from_record(theirs["recipe"])
    advice = "Choose another --out, or pass --fresh to throw that run away and start over."
    if other != recipe:
        before, now = dataclasses.asdict(other), dataclasses.asdict(recipe)
        changed = ", ".join(
            f"{name} {before[name]!r} there and {now[name]!r} here"
            for name in now
            if name != "name" and before[name] != now[name]
        )
        raise ValueError(
            f"{out} belongs to recipe {other.name!r}; this is recipe {recipe.name!r}: "
            f"{changed or 'only the name differs'}. {advice}"
        )
    if theirs["data_sha256"] != mine["data_sha256"]:
        raise ValueError(f"{out} was started on other pairs than {recipe.data} holds now. {advice}")
