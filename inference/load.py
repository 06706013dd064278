"""`codequarry.load`: a model by name, folder or Hub name, ready to embed."""

from pathlib import Path

from codequarry.common.errors import UserError, did_you_mean
from codequarry.modules.adapter_folder import BASE, load_adapter_folder
from codequarry.modules.backbone import ADAPTERS, MINI, resolve_backbone
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.tasks import wrong_prompts


def load(
    name_or_path: str = MINI,
    *,
    dims: int | None = None,
    revision: str | None = None,
    device: str | None = None,
) -> CodeEmbedder:
    """A trained model, as a `SentenceTransformer` that takes `task=`.

    Arguments:
        name_or_path: `mini`, which comes with this package and needs no network; `0.5b`, an adapter that
            comes with it and is merged into Qwen2.5-Coder-0.5B-Instruct, which is located or downloaded and
            cached once (2.5 GB); a folder that `train.py` or `codequarry release build` wrote, or the
            `adapter` in it (one called mini as `./mini`); or a Hub name.
        dims: one of the model's Matryoshka dimensions; None for all.
        revision: Hub branch, tag or commit; None for the newest.
        device: as in `SentenceTransformer`; None picks the fastest there is.

    Weights are in memory in the type that the model's `config.json` names: for mini, which is stored in
    bfloat16, float32.

    Raises UserError for a folder without a finished model, a model without a whole prompt family (see
    `family_of`), and a dimension it was not trained for.

    >>> model = load("runs/mini", dims=128)
    """
    model = _read(name_or_path, revision, device)
    _check_prompts(name_or_path, model)
    if dims is not None:
        model.check_dims(dims)
        model.truncate_dim = dims
    return model


def _read(name: str, revision: str | None, device: str | None) -> CodeEmbedder:
    if name == MINI:
        return CodeEmbedder(str(resolve_backbone(MINI)), device=device, local_files_only=True)
    folder = ADAPTERS.get(name, Path(name))
    if name in ADAPTERS and not (folder / BASE).is_file():
        raise UserError(
            f"{name} comes with codequarry as an adapter, but {folder} has none. Install codequarry anew, or "
            f"check out its repository whole; or pass another model (a folder called {name} as ./{name})."
        )
    if (folder / BASE).is_file():
        return load_adapter_folder(folder, device=device)
    _check_folder(name)
    try:
        return CodeEmbedder(name, revision=revision, device=device)
    except OSError as error:  # what transformers and huggingface_hub raise when files are not to be had
        raise UserError(
            f"{name} could not be loaded ({type(error).__name__}: {str(error).splitlines()[0]}). "
            "Check the name and the network, or pass a local folder."
        ) from error


def _check_folder(name: str) -> None:
    folder = Path(name)
    if not folder.exists():
        looks_local = name.startswith((".", "/", "~")) or name.count("/") != 1
        if looks_local:
            known = [MINI, *ADAPTERS]
            raise UserError(
                f"{name!r} is not a folder here.{did_you_mean(name, known)} Pass {', '.join(known)}, a model "
                "folder, or a Hub name 'owner/model'."
            )
        return
    missing = [file for file in ("config.json", "modules.json") if not (folder / file).is_file()]
    if missing:
        unfinished = (folder / "checkpoints").is_dir()
        raise UserError(
            f"{name} holds no finished model: {' and '.join(missing)} missing. "
            + (
                "Run its training command again: it resumes."
                if unfinished
                else "Pass a folder that train.py wrote."
            )
        )


def _check_prompts(name: str, model: CodeEmbedder) -> None:
    if wrong := wrong_prompts(model.prompts):
        raise UserError(
            f"{name} does not carry the prompts of codequarry's tasks ({', '.join(wrong[:3])}"
            f"{', …' if len(wrong) > 3 else ''} missing or different), so task= would mean nothing. Load it "
            "with sentence_transformers.SentenceTransformer, or build on it with build_model."
        )
