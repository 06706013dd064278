"""Run folder in, release folder out: laid out, with card, licence, record, golden vectors and manifest.

A release, or the adapter of a run by itself, appears under its name in one rename.
"""

import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from codequarry.common.errors import UserError
from codequarry.common.files import in_one_step, read_json, share_weights, write_json, write_text
from codequarry.model_card.render import render, render_adapter
from codequarry.modules.adapter_folder import load_adapter_folder, read_base
from codequarry.modules.backbone import gguf_backbone
from codequarry.modules.saved_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, BASE
from codequarry.release.card import CARD, card_of, write_card
from codequarry.release.golden import write_golden, write_golden_vectors
from codequarry.release.layout import HANDLER, handler_source, licence_file, write_layout, write_modules
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
        dtype: of the weights on disk, `fp32` or `bf16` (half the size, slightly other vectors); `fp16`
            for static models, which are released in no other.
        in_memory: of the weights once loaded, where the reader asks for nothing else.
        largest_shard: bytes of a file of weights, at most; larger weights become several files.
            These three, where None, are as `models.toml` defines what the run's recipe makes (see
            `definition_for`); where it defines nothing, fp32 (fp16 of a static model), as on disk, and 5 GB.
        onnx: precisions, `fp32` or `int8`, in which the whole model is exported to `onnx/`.
        results, decontamination: for the card, as in `card_of`; where None, it says "not measured".
        replace: replace an older release in `out`, in one step at the end.
        progress: say on stderr what is being done.

    Raises UserError for a run that is not finished or cannot be released (see `RunFolder`), an `out` that
    exists, and an `out` to be replaced that is not a release.

    >>> build(Path("runs/mini"), Path("releases/mini"), results=Path("benchmarks/results/mini.json"))
    """
    refuse_missing(onnx)
    source = RunFolder.read(run)
    if (defined := definition_for(source.recipe)) is not None:
        dtype, in_memory = dtype or defined.dtype, in_memory or defined.in_memory
        largest_shard = largest_shard or defined.max_shard_bytes
    dtype, shard = dtype or ("fp16" if source.is_static else "fp32"), largest_shard or LARGEST_SHARD
    out = Path(out).resolve()
    card = card_of(
        source,
        load_as=f"path/to/{out.name}",
        dtype=dtype,
        in_memory=in_memory,
        results=results,
        decontamination=decontamination,
    )
    render(card)  # before anything is written: what it raises, it raises here

    with in_one_step(out, replace=replace, mark=MANIFEST) as building:
        _say(progress, f"weights in {dtype}, tokenizer and configuration")
        write_layout(source, building, dtype=dtype, in_memory=in_memory, largest_shard=shard)
        _write_papers(building, source)
        shutil.copyfile(handler_source(), building / HANDLER)
        _say(progress, "golden vectors")
        write_golden(building, progress=progress)
        if onnx:
            export_onnx(building, onnx, say=partial(_say, progress))
        write_card(building, card)
        write_manifest(building)
    _say(progress, f"{out} is ready")
    return out


def pack_adapter(
    run: Path,
    out: Path,
    *,
    load_as: str,
    adapter: Path | None = None,
    with_modules: bool = False,
    results: Path | None = None,
    decontamination: Path | None = None,
) -> None:
    """Write the adapter of `run` to `out`, as `codequarry.load` reads it, its weights in bf16.

    An adapter that is there is replaced.

    Arguments:
        run: a folder that `train.py` finished with a `[lora]` table.
        load_as: what a user passes to `codequarry.load`.
        adapter: its folder; None: the one in the folder of the run.
        with_modules: with tokenizer, prompts and pooling as well, so that sentence-transformers with peft
            reads the folder without codequarry, where its base is.
        results, decontamination: as in `card_of`.

    Raises UserError for a run without an adapter, and for a folder that holds something else.

    >>> pack_adapter(Path("runs/0.5b"), Path("models/0.5b-lora"), load_as="0.5b")
    """
    import torch
    from safetensors.torch import load_file, save_file

    adapter = adapter or run / "adapter"
    if not (adapter / BASE).is_file():
        raise UserError(f"{run} holds no adapter ({adapter / BASE} is missing): pass a finished LoRA run.")
    if out.exists() and not (out / BASE).is_file():
        raise UserError(f"{out} exists and holds no adapter: choose another folder.")
    finished = RunFolder.read(run)
    card = card_of(
        finished,
        load_as=load_as,
        dtype="bf16",
        in_memory="fp32",
        results=results,
        decontamination=decontamination,
    )
    with in_one_step(out, replace=True, mark=BASE) as building:
        for name in (ADAPTER_CONFIG, BASE):
            shutil.copyfile(adapter / name, building / name)
        stored = load_file(adapter / ADAPTER_WEIGHTS)
        weights = building / ADAPTER_WEIGHTS
        save_file(
            {name: tensor.to(torch.bfloat16) for name, tensor in stored.items()},
            weights,
            metadata={"format": "pt"},
        )
        share_weights(building)
        base = read_base(building)
        gguf = gguf_backbone(base.backbone) if with_modules else None
        if with_modules:
            write_modules(finished, building, "bf16")
        if gguf is not None:  # where peft looks for the base
            config = read_json(building / ADAPTER_CONFIG)
            write_json(building / ADAPTER_CONFIG, config | {"base_model_name_or_path": gguf.repository})
        size, file = weights.stat().st_size, None if gguf is None else gguf.file
        text = render_adapter(card, sha256=base.sha256, size=size, gguf=file)
        _write_papers(building, finished)
        write_text(building / CARD, text)
        model = load_adapter_folder(building, device="cpu")
        write_golden_vectors(building, model, finished.dims, finished.prompt_family, progress=True)


def _write_papers(folder: Path, run: RunFolder) -> None:
    write_json(folder / "training.json", run.training)
    shutil.copyfile(licence_file(), folder / "LICENSE")


def _say(progress: bool, what: str) -> None:
    if progress:
        print(f"build: {what}", file=sys.stderr, flush=True)
