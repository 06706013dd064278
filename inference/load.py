"""`codequarry.load`: a model by name, folder or Hub name, ready to embed."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from codequarry.common.errors import MissingPackageError, UserError, did_you_mean
from codequarry.inference.merged_adapter import merged_folder
from codequarry.inference.model_checks import (
    calibration_rows,
    check_dims,
    check_files,
    check_int8,
    check_model,
    check_vectors,
    read_object,
    readable,
)
from codequarry.inference.runtime.attached import PackedRuntime
from codequarry.modules.adapter_folder import load_adapter_folder
from codequarry.modules.backbone import ADAPTERS, MINI, MODEL_FILES, SHIPPED, resolve_backbone
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.golden_vectors import GOLDEN
from codequarry.modules.saved_folder import ADAPTER_CONFIG, BASE
from codequarry.modules.tasks import wrong_prompts

RuntimeName = Literal["packed", "int8", "stock", "onnx", "openvino"]


def load(
    name_or_path: str = MINI,
    *,
    dims: int | None = None,
    revision: str | None = None,
    device: str | None = None,
    runtime: RuntimeName = "packed",
    batch_invariant: bool = False,
) -> CodeEmbedder:
    """A trained model, as a `SentenceTransformer` that takes `task=`.

    Arguments:
        name_or_path: `mini` or `pico`, which come with this package and need no network; `0.5b`, an adapter
            that comes with it and is merged into Qwen2.5-Coder-0.5B-Instruct, which is located or downloaded,
            at the first time (4.5 GB in the cache); a folder that `train.py` or `codequarry release build`
            wrote, or the `adapter` in it (one called mini or pico as `./mini`); or a Hub name.
        dims: one of the model's Matryoshka dimensions; None for all.
        revision: Hub branch, tag or commit; None for the newest.
        device: as in `SentenceTransformer`; None picks the fastest there is.
        runtime: `packed` computes vectors without padding, where `inference/runtime/` knows the model, and
            else as `stock` does, which is sentence-transformers' own way; `model.runtime.reason` says why.
            `int8` does the same with matrices of 8-bit integers, where the processor is made for them; its
            vectors are near those of `packed`, not equal. `onnx` and `openvino` compute on the model's ONNX
            graph, on the processor: a release's own, or one that is made at the first time.
            `docs/benchmarks.md` says what each gains.
        batch_invariant: whether a text's vector has the same bits whatever it is embedded with, for a model
            that `packed` or `int8` computes; `docs/serving.md` has what it costs.

    Weights are in memory in the type that the model's `config.json` names: for mini, which is stored in
    bfloat16, float32.

    The files are checked before, weights and first vectors after (see `model_checks`): 0.1 seconds for mini.

    Raises UserError for a folder without a finished model, one that is damaged or gives other vectors than it
    was saved with, a model without a whole prompt family (see `family_of`), and a dimension it was not
    trained for; for `int8` another processor, and a model that it does not suit; for `onnx` and `openvino` a
    model that no graph is made of, and MissingPackageError without their package.

    >>> model = load("runs/mini", dims=128)
    """
    if runtime not in get_args(RuntimeName):
        raise UserError(f"runtime {runtime!r} is not known: pass {' or '.join(get_args(RuntimeName))}.")
    if batch_invariant and runtime not in ("packed", "int8"):
        raise UserError(
            "batch_invariant=True needs runtime='packed' or 'int8': sentence-transformers has no such mode."
        )
    if runtime in ("int8", "onnx", "openvino") and device is None:
        device = "cpu"
    model = _read(name_or_path, revision, device)
    if runtime == "packed":
        model.runtime = PackedRuntime(batch_invariant=batch_invariant)
    elif runtime == "int8":
        folder = _model_folder(name_or_path, revision)
        rows = calibration_rows(folder)
        packed = PackedRuntime(batch_invariant=batch_invariant, calibration=[text for text, _ in rows])
        model.runtime = packed
        check_int8(folder, model, rows)
        if packed.reason is not None:
            raise UserError(f"runtime='int8' does not compute this model: {packed.reason}.")
    elif runtime != "stock":
        from codequarry.inference.runtime.graph import GraphRuntime

        folder = _model_folder(name_or_path, revision)
        model.runtime = GraphRuntime(runtime, folder, model)
        check_vectors(folder, model)
    if dims is not None:
        model.check_dims(dims)
        model.truncate_dim = dims
    return model


def _read(name: str, revision: str | None, device: str | None) -> CodeEmbedder:
    if name in SHIPPED:
        return _read_folder(resolve_backbone(name), device)
    if name in ADAPTERS:
        return _read_packaged_adapter(name, device)
    folder = Path(name)
    if (folder / BASE).is_file():
        with readable(str(folder)):
            model = load_adapter_folder(folder, device=device)
        check_vectors(folder, model)
        return model
    if not folder.exists():
        return _read_folder(_fetched(name, revision), device)
    return _read_folder(folder, device)


def _model_folder(name: str, revision: str | None) -> Path:
    """The folder of a model that was read, its adapter merged."""
    if name in ADAPTERS:
        return merged_folder(name, ADAPTERS[name])
    folder = resolve_backbone(name) if name in SHIPPED else Path(name)
    folder = folder if folder.exists() else _fetched(name, revision)
    if (folder / BASE).is_file() or (folder / ADAPTER_CONFIG).is_file():
        raise UserError(f"{folder} holds an adapter, which is computed by runtime='packed' or 'stock' alone.")
    return folder


def _read_packaged_adapter(name: str, device: str | None) -> CodeEmbedder:
    """A model that comes as an adapter: merged once, then read from the cache."""
    folder = ADAPTERS[name]
    if not (folder / BASE).is_file():
        raise UserError(
            f"{name} comes with codequarry as an adapter, but {folder} has none. Install codequarry anew, or "
            f"check out its repository whole; or pass another model (a folder called {name} as ./{name})."
        )
    with readable(str(folder)):
        merged = merged_folder(name, folder)
        return CodeEmbedder(str(merged), device=device, local_files_only=True)


def _read_folder(folder: Path, device: str | None) -> CodeEmbedder:
    _check_folder(folder)
    check_files(folder)
    if (folder / ADAPTER_CONFIG).is_file():
        return _read_with_adapter(folder, device)
    with readable(str(folder)):
        model = CodeEmbedder(str(folder), device=device, local_files_only=True)
    _check_prompts(folder, model)
    check_model(folder, model)
    return model


def _read_with_adapter(folder: Path, device: str | None) -> CodeEmbedder:
    """A model that was saved while its adapter was not merged: backbone and adapter, as peft adds them."""
    if find_spec("peft") is None:
        raise MissingPackageError(
            f"{folder} holds an adapter that is not merged, which peft reads: pip install 'codequarry[train]'"
        )
    base = read_object(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not isinstance(base, str) or not Path(base).is_dir():
        raise UserError(
            f"{folder} holds an adapter on {base!r}, which is no folder here: put the backbone there, or "
            "save the model with its adapter merged (codequarry.training.lora.merge_adapter)."
        )
    with readable(str(folder)):
        model = CodeEmbedder(str(folder), device=device, local_files_only=True)
    _check_prompts(folder, model)
    if (folder / GOLDEN).is_file():  # the adapter's folder has no config.json that names the dimensions
        backbone: Any = model.transformers_model
        backbone.config.matryoshka_dimensions = check_dims(
            folder / GOLDEN, read_object(folder / GOLDEN).get("dims")
        )
    check_model(folder, model)
    return model


def _fetched(name: str, revision: str | None) -> Path:
    """The folder of a model from the Hub, in its cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        known = [*SHIPPED, *ADAPTERS]
        raise UserError(
            f"{name!r} is not a folder here.{did_you_mean(name, known)} Pass {', '.join(known)}, a model "
            "folder, or a Hub name 'owner/model'."
        )
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=[*MODEL_FILES, "README.md"]))
    except (OSError, HFValidationError) as error:  # what huggingface_hub raises when files are not to be had
        raise UserError(
            f"{name} could not be loaded ({type(error).__name__}: {str(error).splitlines()[0]}). "
            "Check the name and the network, or pass a local folder."
        ) from error


def _check_folder(folder: Path) -> None:
    adapter = (folder / ADAPTER_CONFIG).is_file()
    needed = ("modules.json",) if adapter else ("config.json", "modules.json")
    missing = [file for file in needed if not (folder / file).is_file()]
    if missing:
        unfinished = (folder / "checkpoints").is_dir()
        raise UserError(
            f"{folder} holds no finished model: {' and '.join(missing)} missing. "
            + (
                "Run its training command again: it resumes."
                if unfinished
                else "Pass a folder that train.py wrote."
            )
        )


def _check_prompts(name: Path, model: CodeEmbedder) -> None:
    if wrong := wrong_prompts(model.prompts):
        raise UserError(
            f"{name} does not carry the prompts of codequarry's tasks ({', '.join(wrong[:3])}"
            f"{', …' if len(wrong) > 3 else ''} missing or different), so task= would mean nothing. Load it "
            "with sentence_transformers.SentenceTransformer, or build on it with build_model."
        )
