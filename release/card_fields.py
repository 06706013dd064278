"""Fill a model card from a run folder and a results file."""

import json
import re
from pathlib import Path
from typing import Any

import codequarry
from codequarry.model_card.card import Card
from codequarry.release.run_folder import RunFolder

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
# Told elsewhere in the card, or of no interest to its reader.
_NOT_HYPERPARAMETERS = {"name", "backbone", "data", "save_steps", "logging_steps"}


def card_of(run: RunFolder, *, load_as: str, dtype: str, results: Path | None) -> Card:
    """The card of `run`; what neither it nor `results` says is left open.

    load_as: what a user is to pass to `SentenceTransformer`.
    results: a results file of the benchmarks; None when nothing was measured.

    Raises ValueError when `results` is not such a file.
    """
    backbone: dict[str, Any] = run.recipe.get("backbone") or {}
    random_start = backbone.get("weights") == "random"
    base = str(backbone.get("name", ""))
    return Card(
        name=str(run.recipe.get("name") or run.folder.name),
        load_as=load_as,
        version=codequarry.__version__,
        dims=run.dims,
        max_length=run.max_length,
        pooling=run.pooling,
        dtype=dtype,
        parameters=_parameters(run),
        # A folder on the trainer's disk means nothing to a reader.
        base_model=base
        if _HUB_NAME.fullmatch(base) and not random_start and not Path(base).exists()
        else None,
        base_revision=backbone.get("revision"),
        random_start=random_start,
        training_data=tuple(
            {**row, "source": _without_folders(row["source"])} for row in run.training.get("data", ())
        ),
        hyperparameters={
            name: value
            for name, value in run.recipe.items()
            if name not in _NOT_HYPERPARAMETERS and value is not None and not isinstance(value, dict)
        },
        steps=run.training.get("steps"),
        seconds=run.training.get("seconds"),
        hardware=run.training.get("hardware", {}),
        versions=run.training.get("versions", {}),
        results=_read_results(results) if results is not None else None,
    )


def _parameters(run: RunFolder) -> int:
    from math import prod

    from safetensors import safe_open

    total = 0
    for shard in run.weight_files:
        with safe_open(shard, framework="numpy") as weights:
            total += sum(prod(weights.get_slice(key).get_shape()) for key in weights.keys())  # noqa: SIM118
    return total


def _without_folders(source: str) -> str:
    return Path(source).name if Path(source).is_absolute() else source


def _read_results(path: Path) -> dict[str, Any]:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as a results file ({type(error).__name__}: {error})."
        ) from error
    if not isinstance(results, dict) or not isinstance(results.get("rows"), list):
        raise ValueError(f"{path} has no rows: pass a file that `codequarry benchmark` wrote.")
    return results
