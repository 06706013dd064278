"""Where results are written, and the one summary a model: `<model>.json`."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from codequarry.benchmarks.bootstrap import ROUNDS, SEED
from codequarry.benchmarks.models import BenchmarkModel, place_of
from codequarry.benchmarks.quantization import CALIBRATED_ON, RANGES_FILE
from codequarry.benchmarks.results import Measured, Row
from codequarry.benchmarks.significance import Comparison
from codequarry.common.environment import origin
from codequarry.common.files import cache_folder, write_json

_CHECKOUT = Path("benchmarks/results")


def out_folder(arguments: argparse.Namespace) -> Path:
    """Where results go: `--out`, else benchmarks/results in a checkout of this project, else ./results.

    Raises ValueError for a file, or what is called like one.
    """
    if arguments.out is not None:
        out = Path(arguments.out)
        if out.suffix == ".json" or out.is_file():
            raise ValueError(
                f"--out {out} is a folder's place: {out.with_suffix('')} would get <model>.json."
            )
        return out
    return _CHECKOUT if _CHECKOUT.is_dir() else Path("results")


def vectors_folder(arguments: argparse.Namespace) -> Path:
    """Where vectors are kept: `--cache`, else `vectors` in CODEQUARRY_CACHE or the user's cache folder."""
    return cache_folder("vectors") if arguments.cache is None else Path(arguments.cache)


_PACKAGES = ("mteb", "bm25s", "numpy")


def write_results(
    path: Path, rows: Sequence[Row], *, benchmark: str, command: str, more: Mapping[str, Any] | None = None
) -> None:
    """Write rows with the command, machine and versions that made them, whole or not at all.

    benchmark, command: what was scored and how, as a reader would repeat it. more: further sections.
    """
    record: dict[str, Any] = {
        "benchmark": benchmark,
        **origin(command),
        "rows": [row.record() for row in rows],
        **(more or {}),
    }
    record["versions"] |= {name: version(name) for name in _PACKAGES}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)


def write_summary(
    out: Path,
    model: BenchmarkModel,
    measured: Measured,
    *,
    benchmark: str,
    command: str,
    comparisons: Sequence[Comparison] = (),
) -> Path:
    """Write one model's summary to `out`; `rows` holds those of the whole run, the model's own among them.

    Returns the file's path.
    """
    path = out / summary_name(model.label)
    write_results(
        path,
        measured.rows,
        benchmark=benchmark,
        command=command,
        more={
            "model": model.label,
            "revision": place_of(model).revision,
            "interval": f"95% percentile bootstrap over queries, {ROUNDS} rounds, seed {SEED}",
            "speed": measured.speeds[model.label],
            **sections(model.label, measured),
            "comparisons": [
                {name: _rounded(value) for name, value in asdict(row).items()} for row in comparisons
            ],
        },
    )
    return path


def sections(label: str, measured: Measured) -> dict[str, Any]:
    """A model's dimensions, precisions, prompts and languages, as plain data; [] for what was not asked."""
    found: dict[str, Any] = {
        name: [row.record() for row in measured.variants.get(name, ()) if row.model == label]
        for name in ("dims", "precisions", "prompts")
    }
    if any(row["variant"] == "int8" for row in found["precisions"]):
        found["int8"] = {"ranges": RANGES_FILE, "calibrated_on": CALIBRATED_ON}
    return found | {"languages": [line for line in measured.languages if line["model"] == label]}


def summary_name(label: str) -> str:
    """The file name of a model's summary: `runs/mini` gives `runs__mini.json`.

    >>> summary_name("runs/mini")
    'runs__mini.json'
    """
    return f"{label.strip('/.').replace('/', '__').replace(' ', '_')}.json"


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
