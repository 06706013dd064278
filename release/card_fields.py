"""Fill a model card from a run folder and what was measured: results, decontamination, verification."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import codequarry
from codequarry.model_card.card import Card
from codequarry.modules.backbone import GGUF_BACKBONES, MINI, PACKAGED
from codequarry.release.definitions import licence_of
from codequarry.release.module_list import DENSE_WEIGHTS
from codequarry.release.public_record import public_record
from codequarry.release.run_folder import RunFolder
from codequarry.release.weights import Dtype, stored_tensors

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_TRAINED_ON = {row.name: row.trained_on for row in PACKAGED} | {MINI: PACKAGED[0].trained_on}
# Told elsewhere in the card, or of no interest to its reader.
_NOT_HYPERPARAMETERS = {"name", "backbone", "data", "prompts", "save_steps", "logging_steps"}


def card_of(
    run: RunFolder,
    *,
    load_as: str,
    dtype: Dtype,
    in_memory: Dtype | None,
    results: Path | None = None,
    decontamination: Path | None = None,
    verification: Path | None = None,
) -> Card:
    """The card of `run`; what neither it nor the files say is left open.

    load_as: what a user is to pass to `SentenceTransformer`.
    dtype, in_memory: of the weights, as in `build`.
    results: a file that `codequarry benchmark --out` wrote; None when nothing was measured.
    decontamination: the report that `codequarry data clean` wrote of the run's training data; None for none.
    verification: a file that `codequarry release verify --out` wrote; None when no runtime was checked.

    Raises ValueError for a file that is not of its kind, and for a report of other training data.
    """
    recipe, record = run.recipe, run.training
    backbone: dict[str, Any] = recipe.get("backbone") or {}
    random_start = backbone.get("weights") == "random"
    base = str(backbone.get("name", ""))
    gguf = next((row for row in GGUF_BACKBONES if base in (row.name, row.repository)), None)
    if gguf is not None:
        base = gguf.repository
    # A folder on the trainer's disk means nothing to a reader.
    named = base == MINI or (_HUB_NAME.fullmatch(base) is not None and not Path(base).exists())
    return Card(
        name=str(recipe.get("name") or run.folder.name),
        load_as=load_as,
        version=codequarry.__version__,
        dims=run.dims,
        max_length=run.max_length,
        pooling=run.pooling,
        prompts=run.prompt_family.prompts(),
        dtype=dtype,
        in_memory=in_memory or dtype,
        parameters=_parameters(run),
        base_model=base if named and not random_start else None,
        base_licence=gguf.licence if gguf is not None else licence_of(base),
        base_trained_on=() if random_start else _TRAINED_ON.get(base, ()),
        base_revision=gguf.revision if gguf is not None else backbone.get("revision"),
        random_start=random_start,
        training_data=tuple(record.get("data", ())),
        decontamination=_report_of(record, decontamination) if decontamination is not None else None,
        hyperparameters=dict(
            _fields({name: value for name, value in recipe.items() if name not in _NOT_HYPERPARAMETERS})
        ),
        scores=(record.get("validation") or {}).get("model") or {},
        steps=record.get("steps"),
        seconds=record.get("seconds"),
        hardware=record.get("hardware", {}),
        versions=record.get("versions", {}),
        results=_read(results, "codequarry benchmark") if results is not None else None,
        verification=_read(verification, "codequarry release verify") if verification is not None else None,
        datasets=tuple(
            dict.fromkeys(name for row in record.get("data", ()) for name in row.get("datasets", ()))
        ),
    )


def _fields(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every field that is set, those of tables within by their names with dots, as `--set` takes them."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{above}{name}.")
        elif value is not None:
            yield f"{above}{name}", value


def _parameters(run: RunFolder) -> int:
    files = [*run.weight_files, *(run.folder / layer.path / DENSE_WEIGHTS for layer in run.dense)]
    return sum(tensor.numbers for file in files for tensor in stored_tensors(file).values())


def _read(path: Path, written_by: str) -> dict[str, Any]:
    """A file of measurements, which are its `rows`."""
    found = _json(path)
    rows = found.get("rows") if isinstance(found, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} has no rows: pass a file that `{written_by}` wrote.")
    return public_record(found)


def _report_of(record: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The report of cleaning in `path`, if it can be that of the training data in `record`."""
    report = _json(path)
    if not isinstance(report, dict) or not {"in", "out", "why", "eval_sets", "sources"} <= report.keys():
        raise ValueError(f"{path} is no report of cleaning: pass one that `codequarry data clean` wrote.")
    used, left = Counter[str](), Counter[str]()
    for row in record.get("data", ()):
        used[row["source"]] += int(row["pairs"])
    for name, found in report["sources"].items():
        (public_name,) = public_record({name: None})  # as the record has it, without folders
        left[public_name] += int(found["out"])
    for source, pairs in used.items():
        if pairs > left[source]:
            raise ValueError(
                f"{path} is the report of other data: the run was trained on {pairs:,} pairs of {source}, "
                f"and cleaning left {left[source]:,}. Pass the report that stands beside this run's data."
            )
    return public_record(report)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__}: {error}).") from error
