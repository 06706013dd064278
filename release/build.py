"""Run folder in, release folder out: laid out, with card, licence, record, golden vectors and manifest.

A release appears under its name in one rename.
"""

import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import codequarry
from codequarry.common.files import in_one_step, write_json
from codequarry.model_card.render import render
from codequarry.release.card import card_of, write_eval_results
from codequarry.release.golden import write_golden
from codequarry.release.layout import HANDLER, handler_source, write_layout
from codequarry.release.manifest import MANIFEST, write_manifest
from codequarry.release.onnx import OnnxPrecision, export_onnx, refuse_missing
from codequarry.release.registry import definition_for
from codequarry.release.trained_run import RunFolder
from codequarry.release.weights import LARGEST_SHARD, Dtype


def build(
    run: Path,
    out: Path,
    *,
    dtype: Dtype | None = None,
    in_memory: Dtype | None = None,
    largest_shard: int | None = None,
    onnx: Sequence[OnnxPrecision] = (),
    results: Path | None = None,
    decontamination: Path | None = None,
    replace: bool = False,
    progress: bool = True,
) -> Path:
    """Build the release of the finished training run in the folder `run`, and return its folder.

    Arguments:
        out: the release's folder; it must not exist, unless `replace`.
        dtype: of the weights on disk, `fp32` or `bf16` (half the size, slightly other vectors).
        in_memory: of the weights once loaded, where the reader asks for nothing else.
        largest_shard: bytes of a file of weights, at most; larger weights become several files.
            These three, where None, are as `models.toml` defines what the run's recipe makes (see
            `definition_for`); where it defines nothing, fp32, as on disk, and 5 GB.
        onnx: precisions, `fp32` or `int8`, in which the whole model is exported beside the weights.
        results, decontamination: for the card, as in `card_of`; where None, it says "not measured".
        replace: take the place of an older release in `out`, in one step at the end.
        progress: say on stderr what is being done.

    Raises ValueError for a run that is not finished or cannot be released (see `RunFolder`), an `out` that
    exists, and an `out` to be replaced that is not a release.

    >>> build(Path("runs/mini"), Path("releases/mini"), results=Path("benchmarks/results/mini.json"))
    """
    refuse_missing(onnx)
    source = RunFolder.read(run)
    if (defined := definition_for(source.recipe)) is not None:
        dtype, in_memory = dtype or defined.dtype, in_memory or defined.in_memory
        largest_shard = largest_shard or defined.max_shard_bytes
    dtype = dtype or "fp32"
    out = Path(out).resolve()
    card = card_of(
        source,
        load_as=f"path/to/{out.name}",
        dtype=dtype,
        in_memory=in_memory,
        results=results,
        decontamination=decontamination,
    )
    rendered = render(card)

    with in_one_step(out, replace=replace, mark=MANIFEST) as building:
        _say(progress, f"weights in {dtype}, tokenizer and configuration")
        shard = largest_shard or LARGEST_SHARD
        write_layout(source, building, dtype=dtype, in_memory=in_memory, largest_shard=shard)
        write_json(building / "training.json", source.training)
        (building / "README.md").write_text(rendered, encoding="utf-8")
        if card.results is not None:
            write_eval_results(building, card.results)
        shutil.copyfile(licence_file(), building / "LICENSE")
        shutil.copyfile(handler_source(), building / HANDLER)
        if onnx:
            _say(progress, f"ONNX, {' and '.join(onnx)}")
            export_onnx(building, onnx)
        _say(progress, "golden vectors")
        write_golden(building)
        write_manifest(building)
    _say(progress, f"{out} is ready")
    return out


def licence_file() -> Path:
    # A checkout has the file beside the package, a wheel in its metadata.
    beside = Path(codequarry.__file__).with_name("LICENSE")
    if beside.is_file():
        return beside
    try:
        listed = files("codequarry") or []
    except PackageNotFoundError:
        listed = []
    for file in listed:
        if file.name == "LICENSE" and (found := Path(str(file.locate()))).is_file():
            return found
    raise ValueError("codequarry is installed without its LICENSE, which a release carries: reinstall it.")


def _say(progress: bool, what: str) -> None:
    if progress:
        print(f"build: {what}", file=sys.stderr, flush=True)
