"""The card of a run, from its folder and from measurements: results, decontamination, verification."""

import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import codequarry
from codequarry.common.errors import UserError
from codequarry.common.files import file_sha256, read_json, write_json, write_text
from codequarry.model_card.card import Card
from codequarry.model_card.render import render
from codequarry.model_card.tables import Row, own_rows
from codequarry.modules.backbone import GGUF_BACKBONES, MINI, PACKAGED
from codequarry.modules.golden_vectors import GOLDEN
from codequarry.release.layout import HANDLER
from codequarry.release.manifest import check_manifest, contents_sha256, write_manifest
from codequarry.release.module_list import DENSE_WEIGHTS
from codequarry.release.registry import licence_of
from codequarry.release.trained_run import RunFolder, data_of_all_stages, public_record, stages
from codequarry.release.weights import Dtype, dtype_in_memory, dtype_on_disk, stored_tensors

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_TRAINED_ON = {row.name: row.trained_on for row in PACKAGED} | {MINI: PACKAGED[0].trained_on}

# They stand elsewhere in the card, or do not concern its reader.
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
    """The card of `run`; what is in neither the run nor the files is left open.

    load_as: what a user passes to `SentenceTransformer`.
    dtype, in_memory: of the weights, as in `build`.
    results: a file that `codequarry benchmark --out` wrote; None where nothing was measured.
    decontamination: the report that `codequarry data clean` wrote of the run's training data; None for none.
    verification: a file that `codequarry release verify --out` wrote; None where no runtime was checked.

    Raises UserError for a file that is not of its kind, and for a report of other training data.
    """
    recipe, record = run.recipe, run.training
    data = data_of_all_stages(record)
    backbone: dict[str, Any] = recipe.get("backbone") or {}
    random_start = backbone.get("weights") == "random"
    base = str(backbone.get("name", ""))
    gguf = next((row for row in GGUF_BACKBONES if base in (row.name, row.repository)), None)
    if gguf is not None:
        base = gguf.repository
    files = [*run.weight_files, *(run.folder / layer.path / DENSE_WEIGHTS for layer in run.dense)]
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
        parameters=sum(tensor.numbers for file in files for tensor in stored_tensors(file).values()),
        base_model=base if named and not random_start else None,
        base_licence=gguf.licence if gguf is not None else licence_of(base),
        base_trained_on=() if random_start else _TRAINED_ON.get(base, ()),
        base_revision=gguf.revision if gguf is not None else backbone.get("revision"),
        random_start=random_start,
        training_data=tuple(data),
        decontamination=_report_of(record, decontamination) if decontamination is not None else None,
        hyperparameters={
            name: value
            for name, value in _fields(recipe)
            if name.partition(".")[0] not in _NOT_HYPERPARAMETERS
        },
        scores=(record.get("validation") or {}).get("model") or {},
        steps=record.get("steps"),
        seconds=record.get("seconds"),
        earlier_stages=tuple(_stage(one) for one in stages(record)[:-1]),
        hardware=record.get("hardware", {}),
        versions=record.get("versions", {}),
        results=_read(results, "codequarry benchmark"),
        verification=_read(verification, "codequarry release verify"),
        datasets=tuple(dict.fromkeys(name for row in data for name in row.get("datasets", ()))),
    )


def _stage(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a card says of a stage of training before the last one."""
    recipe = record.get("recipe") or {}
    named = {name: recipe.get(name) for name in ("batch_size", "learning_rate", "max_length")}
    return {"steps": record.get("steps"), "seconds": record.get("seconds"), **named}


def _fields(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every field that is set, those of tables within by their names with dots, as `--set` takes them."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{above}{name}.")
        elif value is not None and (above or value != []):  # an empty list: no projections, for example
            yield f"{above}{name}", value


def _read(path: Path | None, written_by: str) -> dict[str, Any] | None:
    """A file of measurements, which are its `rows`."""
    if path is None:
        return None
    found = _json(path)
    rows = found.get("rows") if isinstance(found, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path} has no rows: pass a file that `{written_by}` wrote.")
    return public_record(found)


_TOGETHER = "*/*"  # the source of a recipe that draws all mined repositories together


def _report_of(record: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The report of cleaning in `path`, if it can be that of the training data in `record`."""
    report = _json(path)
    if not isinstance(report, dict) or not {"in", "out", "why", "eval_sets", "sources"} <= report.keys():
        raise UserError(f"{path} is no report of cleaning: pass one that `codequarry data clean` wrote.")
    used, left = Counter[str](), Counter[str]()
    for row in record.get("data", ()):
        used[row["source"]] += int(row["pairs"])
    for name, found in report["sources"].items():
        (public_name,) = public_record({name: None})  # as the record has it, without folders
        left[public_name] += int(found["out"])
        if "/" in name:
            left[_TOGETHER] += int(found["out"])
    for source, pairs in used.items():
        if pairs > left[source]:
            raise UserError(
                f"{path} is the report of other data: the run was trained on {pairs:,} pairs of {source}, "
                f"and cleaning left {left[source]:,}. Pass the report that was written with this run's data."
            )
    return public_record(report)


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}: {error}).") from error


CARD = "README.md"
RECORD = "card.json"  # what the card was rendered from, besides the run
MEASURED = ("results", "decontamination", "verification")


def write_card(folder: Path, card: Card) -> None:
    """Write the card of the release in `folder`, when its other files are there: README.md and what it shows.

    `card.json` has the measurements, and `.eval_results` the scores of sets that are on the Hub.
    """
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    if card.results is not None:
        write_eval_results(folder, card.results)
    record = {name: getattr(card, name) for name in ("name", "load_as", "version", *MEASURED)}
    write_json(folder / RECORD, record | {"handler": (folder / HANDLER).is_file()})
    write_text(folder / CARD, render(replace(card, contents=contents_sha256(folder))))


def renew_card(
    folder: Path,
    *,
    load_as: str | None = None,
    results: Path | None = None,
    decontamination: Path | None = None,
    verification: Path | None = None,
) -> None:
    """Write card, `card.json`, `.eval_results` and manifest of a release again; nothing else changes.

    Arguments:
        load_as: what users pass to `SentenceTransformer`, a Hub name; None: the folder's.
        results, decontamination, verification: as in `card_of`; what is None becomes "not measured".

    Raises UserError for a folder that is not a release as it was built, and for the verification of another.

    >>> renew_card(Path("releases/mini"), verification=Path("verification.json"))
    """
    # The card itself may have been changed, or written in part.
    problems = [
        problem for problem in check_manifest(folder) if not problem.startswith((CARD, RECORD, f"{FOLDER}/"))
    ]
    if problems:
        raise UserError(f"{folder} is not a release as it was built: {problems[0]}")
    checked = _json(verification) if verification is not None else None
    of_release = checked.get("golden_vectors") if isinstance(checked, dict) else None
    if verification is not None and of_release != file_sha256(folder / GOLDEN):
        raise UserError(
            f"{verification} is of another release: its golden vectors are not those of {folder}. Give "
            f"`codequarry release verify {folder} --out {verification}` first."
        )
    card = card_of(
        RunFolder.read(folder),
        load_as=load_as or f"path/to/{folder.resolve().name}",
        dtype=dtype_on_disk(folder),
        in_memory=dtype_in_memory(folder),
        results=results,
        decontamination=decontamination,
        verification=verification,
    )
    render(card)  # before anything is changed: what it raises, it raises here
    write_card(folder, card)
    write_manifest(folder)


FOLDER = ".eval_results"
_DATASET = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def write_eval_results(folder: Path, results: Mapping[str, Any]) -> list[Path]:
    """Write the model's own scores in `results` below the release `folder`, and return the files.

    Only rows with a `dataset`, the Hub name of the set that was scored, are written: the Hub shows a score on
    the page of its set. nDCG@10 is the value, between 0 and 1.

    Raises UserError for a `dataset` that is no Hub name, and for two scores of one set.

    >>> write_eval_results(Path("releases/mini"), results)
    [PosixPath('releases/mini/.eval_results/CosQA.yaml')]
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]

    rows: dict[str, Row] = {}
    for row in own_rows(results):
        if not row.get("dataset") or row.get("ndcg@10") is None:
            continue
        if not _DATASET.fullmatch(row["dataset"]):
            raise UserError(f"{row['dataset']!r} is no name of a data set on the Hub, as 'owner/name' is.")
        name = re.sub(r"[^\w.-]", "_", row["set"])
        if name in rows:
            raise UserError(f"The results hold two scores of {row['set']}: one file can hold only one.")
        rows[name] = row
    files = {folder / FOLDER / f"{name}.yaml": row for name, row in rows.items()}
    for file, row in files.items():
        file.parent.mkdir(exist_ok=True)
        entry = EvalResultEntry(
            dataset_id=row["dataset"],
            task_id=row["set"],
            value=row["ndcg@10"],
            dataset_revision=row.get("dataset_revision"),
            date=results.get("date"),
            notes=f"nDCG@10, with the prompts of {row['task']}",
        )
        write_text(file, yaml_dump(eval_result_entries_to_yaml([entry])))
    return [*files]
