"""Fill a model card from a run folder and a results file."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import codequarry
from codequarry.model_card.card import Card
from codequarry.modules.backbone import MINI, PACKAGED
from codequarry.release.layout import Dtype
from codequarry.release.run_folder import RunFolder

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
# Told elsewhere in the card, or of no interest to its reader.
_NOT_HYPERPARAMETERS = {"name", "backbone", "data", "save_steps", "logging_steps"}
_LICENCES = {row.name: row.licence for row in PACKAGED} | {MINI: "Apache-2.0"}


def card_of(
    run: RunFolder, *, load_as: str, dtype: Dtype, in_memory: Dtype | None, results: Path | None
) -> Card:
    """The card of `run`; what neither it nor `results` says is left open.

    load_as: what a user is to pass to `SentenceTransformer`.
    dtype, in_memory: of the weights, as in `build`.
    results: a results file of the benchmarks; None when nothing was measured.

    Raises ValueError when `results` is not such a file.
    """
    recipe, record = run.recipe, run.training
    backbone: dict[str, Any] = recipe.get("backbone") or {}
    random_start = backbone.get("weights") == "random"
    base = str(backbone.get("name", ""))
    # A folder on the trainer's disk means nothing to a reader.
    named = base == MINI or (_HUB_NAME.fullmatch(base) is not None and not Path(base).exists())
    return Card(
        name=str(recipe.get("name") or run.folder.name),
        load_as=load_as,
        version=codequarry.__version__,
        dims=run.dims,
        max_length=run.max_length,
        pooling=run.pooling,
        dtype=dtype,
        in_memory=in_memory or dtype,
        parameters=_parameters(run),
        base_model=base if named and not random_start else None,
        base_licence=_LICENCES.get(base),
        base_revision=backbone.get("revision"),
        random_start=random_start,
        training_data=tuple(record.get("data", ())),
        hyperparameters=dict(
            _fields({name: value for name, value in recipe.items() if name not in _NOT_HYPERPARAMETERS})
        ),
        scores=record.get("scores") or {},
        steps=record.get("steps"),
        seconds=record.get("seconds"),
        hardware=record.get("hardware", {}),
        versions=record.get("versions", {}),
        results=_read_results(results) if results is not None else None,
    )


def _fields(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every field that is set, those of tables within by their names with dots, as `--set` takes them."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{above}{name}.")
        elif value is not None:
            yield f"{above}{name}", value


def _parameters(run: RunFolder) -> int:
    from math import prod

    from safetensors import safe_open

    total = 0
    for shard in run.weight_files:
        with safe_open(shard, framework="numpy") as weights:
            total += sum(prod(weights.get_slice(key).get_shape()) for key in weights.keys())  # noqa: SIM118
    return total


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
