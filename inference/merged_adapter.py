"""The merged model of an adapter that comes with the package, kept in the cache after the first time.

Adding an adapter to its backbone reads 2.5 GB and computes for seconds; the merged folder is read at once,
its weights mapped into memory, and needs the backbone no longer.
"""

import shutil
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codequarry.common.errors import UserError
from codequarry.common.files import (
    atomic_path,
    cache_folder,
    file_sha256,
    one_process_at_a_time,
    read_json,
    write_json,
)
from codequarry.inference.model_checks import check_vectors
from codequarry.modules.golden_vectors import GOLDEN
from codequarry.modules.saved_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, BASE, CARD

if TYPE_CHECKING:
    from codequarry.inference.runtime.folder import FolderModel

RECORD, FINGERPRINT = "merged.json", "fingerprint.json"
TRAINING = "training.json"  # with it the folder is that of a finished run, which can be released
_LAYOUT = 1  # of such folders; one of another layout is made anew
# What a merged folder depends on. The backbone is named in BASE, by its sha256.
_PARTS = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, BASE, GOLDEN)


def merged_folder(name: str, adapter: Path) -> Path:
    """The folder of an adapter merged into its backbone, made where it is not there.

    Arguments: `name` of the model, for that of the folder; `adapter`, the adapter's folder.

    Raises UserError as `load_adapter_folder` does, and for a cache that cannot be written.

    >>> merged_folder("0.5b", Path("models/0.5b-lora"))
    PosixPath('/home/me/.cache/codequarry/merged/0.5b-0123456789ab')
    """
    key = _key(adapter)
    folder = cache_folder("merged") / f"{name}-{key[:12]}"
    if not _is_complete(folder, key):
        with one_process_at_a_time(folder):
            if not _is_complete(folder, key):  # by the process that was waited for
                _merge(adapter, folder, key)
    return folder


def kept_fingerprint(model: "FolderModel") -> str:
    """The fingerprint of a merged model, computed once and kept in its folder: its weights take seconds.

    It is computed again where a file of the folder has another size or modification time than it had then.
    """
    folder = model.folder
    files = {
        path.relative_to(folder).as_posix(): [path.stat().st_size, path.stat().st_mtime_ns]
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != FINGERPRINT
    }
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept: Any = read_json(folder / FINGERPRINT)
        if kept["files"] == files and isinstance(kept["fingerprint"], str):
            return str(kept["fingerprint"])
    found = model.fingerprint
    with suppress(OSError):  # a cache that cannot be written keeps nothing
        write_json(folder / FINGERPRINT, {"fingerprint": found, "files": files})
    return found


def _merge(adapter: Path, folder: Path, key: str) -> None:
    from codequarry.modules.adapter_folder import load_adapter_folder  # imports sentence-transformers

    model = load_adapter_folder(adapter, device="cpu")
    check_vectors(adapter, model)  # here once, and not at every load
    try:
        if folder.exists():
            shutil.rmtree(folder)
        with atomic_path(folder) as writing:
            model.save(str(writing))
            for name in (GOLDEN, CARD, TRAINING):
                if (adapter / name).is_file():
                    shutil.copyfile(adapter / name, writing / name)
            files = {path.name: path.stat().st_size for path in sorted(writing.iterdir()) if path.is_file()}
            write_json(writing / RECORD, {"layout": _LAYOUT, "key": key, "files": files})
    except OSError as error:
        raise UserError(
            f"the merged model could not be written to {folder} ({error}). Free 2 GB there, or name another "
            "folder in CODEQUARRY_CACHE."
        ) from error


def _key(adapter: Path) -> str:
    parts = [path for path in map(adapter.joinpath, _PARTS) if path.is_file()]
    return sha256("".join(f"{path.name} {file_sha256(path)}\n" for path in parts).encode()).hexdigest()


def _is_complete(folder: Path, key: str) -> bool:
    """Whether the folder was made of this adapter, and has every file in the size that was written."""
    try:
        record: Any = read_json(folder / RECORD)
        return (
            record["layout"] == _LAYOUT
            and record["key"] == key
            and all((folder / name).stat().st_size == size for name, size in record["files"].items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
