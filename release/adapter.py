"""Pack the adapter of a finished run by itself: weights in bf16, card, record, golden vectors."""

import shutil
from pathlib import Path

from codequarry.common.files import write_json
from codequarry.model_card.render import render_adapter
from codequarry.modules.adapter_folder import BASE, load_adapter_folder, read_base
from codequarry.release.build import licence_file
from codequarry.release.card import card_of
from codequarry.release.golden import golden_rows, write_golden_rows
from codequarry.release.trained_run import RunFolder

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def pack_adapter(
    run: Path, out: Path, *, load_as: str, results: Path | None = None, decontamination: Path | None = None
) -> None:
    """Write the adapter of `run` to `out`, as `codequarry.load` reads it.

    A folder that is there is replaced, in one rename, if it holds an adapter.

    Arguments:
        run: a folder that `train.py` finished with a `[lora]` table.
        load_as: what a user passes to `codequarry.load`.
        results, decontamination: as in `card_of`.

    Raises ValueError for a run without an adapter, and for a folder that holds something else.

    >>> pack_adapter(Path("runs/0.5b"), Path("models/0.5b-lora"), load_as="0.5b")
    """
    import torch
    from safetensors.torch import load_file, save_file

    adapter = run / "adapter"
    if not (adapter / BASE).is_file():
        raise ValueError(f"{run} holds no adapter ({adapter / BASE} is missing): pass a finished LoRA run.")
    if out.exists() and not (out / BASE).is_file():
        raise ValueError(f"{out} exists and holds no adapter: choose another folder.")
    finished = RunFolder.read(run)
    beside = out.with_name(f".{out.name}.packing")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name in (_CONFIG, BASE):
        shutil.copyfile(adapter / name, beside / name)
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(adapter / _WEIGHTS).items()}
    save_file(weights, beside / _WEIGHTS, metadata={"format": "pt"})
    write_json(beside / "training.json", finished.training)
    model = load_adapter_folder(beside, device="cpu")
    write_golden_rows(beside, golden_rows(model), finished.dims, finished.prompt_family)
    card = card_of(
        finished,
        load_as=load_as,
        dtype="bf16",
        in_memory="fp32",
        results=results,
        decontamination=decontamination,
    )
    text = render_adapter(card, sha256=read_base(beside).sha256, size=(beside / _WEIGHTS).stat().st_size)
    shutil.copyfile(licence_file(), beside / "LICENSE")
    (beside / "README.md").write_text(text, encoding="utf-8")
    if out.exists():
        shutil.rmtree(out)
    beside.rename(out)
