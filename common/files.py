"""Files and folders that are written whole or not at all, the cache, and hashes of texts."""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import time
import tomllib
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from codequarry.common.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from _typeshed import DataclassInstance

    Row = TypeVar("Row", bound=DataclassInstance)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, for a file or a folder, renamed to `path` at the end.

    No reader ever sees a half-written `path`; what a failed block wrote is removed, and what a killed process
    left next to it (see `remove_leftovers`). For a folder, `path` must be absent or empty by then.

    >>> with atomic_path(Path("table.json")) as temporary:
    ...     temporary.write_text("{}")
    """
    temporary = temporary_path(path)
    remove_leftovers(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


_DAY = 86_400  # seconds


def _own_mark() -> str:
    """Marks what this process writes: its number and its machine, `4711-0a1b2c3d`."""
    return f"{os.getpid()}-{zlib.crc32(platform.node().encode()):08x}"


def temporary_path(path: Path) -> Path:
    """Where this process writes what becomes `path`: next to it, hidden, named after process and machine."""
    return path.with_name(f".{path.name}.{_own_mark()}")


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of `path` next to it.

    What a process of this machine wrote goes when the process is gone; what another machine wrote into a
    shared folder, or an older version of this package, when it was not touched for a day. Whatever cannot be
    looked at or removed stays.
    """
    prefix = f".{path.name}."
    try:
        found = [left for left in path.parent.iterdir() if left.name.startswith(prefix)]
    except OSError:
        return
    for left in found:
        mark = left.name[len(prefix) :]
        if _MARK.fullmatch(mark) and _is_abandoned(left, mark):
            _remove(left)


_MARK = re.compile(r"(\d{1,9})(?:-([0-9a-f]{8}))?")


def _is_abandoned(left: Path, mark: str) -> bool:
    process, _, machine = mark.partition("-")
    if machine == _own_mark().partition("-")[2]:
        return not is_running(int(process))
    try:
        inside = [left, *(left.rglob("*") if left.is_dir() and not left.is_symlink() else ())]
        newest: float = max(one.lstat().st_mtime for one in inside)
        return time.time() - newest > _DAY
    except OSError:
        return False


def _remove(left: Path) -> None:
    if left.is_dir() and not left.is_symlink():
        shutil.rmtree(left, ignore_errors=True)
    else:
        with suppress(OSError):
            left.unlink()


def is_running(process: int) -> bool:
    """Whether this machine has a process of that number."""
    if os.name == "nt":  # where signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's, or no number that a process can have
        return True
    return True


@contextmanager
def temporary_folder(what: str) -> Iterator[Path]:
    """Yield a new folder among the temporary files, removed afterwards; a killed process's by the next call.

    what: for its name, `codequarry-WHAT-…`.

    >>> with temporary_folder("clone") as folder:
    ...     (folder / "a").write_text("")
    """
    prefix, place = f"codequarry-{what}-", Path(tempfile.gettempdir())
    for left in [*place.glob(f"{prefix}*")]:
        mark = left.name[len(prefix) :].rpartition(".")[0]
        ours = _POSIX and left.is_dir() and not left.is_symlink() and left.lstat().st_uid == os.getuid()
        if ours and _MARK.fullmatch(mark) and _is_abandoned(left, mark):
            _remove(left)
    with tempfile.TemporaryDirectory(prefix=f"{prefix}{_own_mark()}.") as folder:
        yield Path(folder)


_POSIX = hasattr(os, "getuid")


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, record: Any) -> None:
    """Write `record` to `path` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def read_regular(path: Path, most: int, *, follow: bool = False) -> bytes:
    """The first `most` + 1 bytes of a regular file: one byte more than `most` says that there is more.

    A pipe or a device is refused without waiting for it; a link is followed only with `follow`.

    Raises OSError where there is no regular file, or it cannot be read.
    """
    # O_NONBLOCK: opening a pipe waits for its other end otherwise. Windows has neither flag.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    flags |= 0 if follow else getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return file.read(most + 1)


def read_json(path: Path, most: int | None = None) -> Any:
    """The value in a JSON file.

    Arguments: `most`, the bytes that are read at most; None for any number, of a file that is our own.

    Raises OSError where it cannot be read, ValueError for one that is no JSON or larger than `most`.
    """
    if most is None:
        return json.loads(path.read_text(encoding="utf-8"))
    content = read_regular(path, most, follow=True)
    if len(content) > most:
        raise ValueError(f"it is larger than {most:,} bytes")
    return json.loads(content.decode("utf-8"))


def read_rows(
    file: Path, row: "type[Row]", item: Callable[[Any], Any] = lambda value: value
) -> "tuple[Row, ...]":
    """The rows of a TOML file with one array of tables, called as the file is; lists become tuples.

    Arguments: `row`, a dataclass; `item`, what each value in a list becomes.

    Raises UserError for another table, and for a row with an unknown key or without one that it needs.
    """
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    if list(tables) != [file.stem]:
        raise UserError(f"{file.name} has the tables {', '.join(tables)}: expected {file.stem} alone.")
    found = []
    for number, cells in enumerate(tables[file.stem], 1):
        try:
            values = {
                name: tuple(map(item, value)) if isinstance(value, list) else value
                for name, value in cells.items()
            }
            found.append(row(**values))
        except TypeError as error:
            known = ", ".join(field.name for field in fields(row))
            raise UserError(f"{file.name}, row {number}: {error}. The keys are {known}.") from error
    return tuple(found)


def file_sha256(path: Path, advance: Callable[[int], Any] = lambda size: None) -> str:
    """The sha256 of a file's bytes, in hexadecimal; `advance` is called with the bytes of each block read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()


def cache_folder(name: str = "") -> Path:
    """`name` in the folder that the variable CODEQUARRY_CACHE names, or else in the user's cache folder."""
    from platformdirs import user_cache_dir  # not needed to start a command

    chosen = os.environ.get("CODEQUARRY_CACHE") or user_cache_dir("codequarry", appauthor=False)
    return Path(chosen).expanduser() / name


def text_sha256(text: str) -> bytes:
    """sha256 of a text's UTF-8, 32 bytes. Lone surrogates, which JSON can hold, are hashed too."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def text_ids(texts: Iterable[str]) -> "npt.NDArray[np.int64]":
    """One int64 per text, `(texts,)`: the first 8 bytes of its sha256, little endian.

    Equal texts have equal ids on every machine. Two of a million different texts share one with a
    probability of 3e-8; one of them is then only moved to another batch, or masked in one.
    """
    import numpy as np  # not needed to start a command

    return np.frombuffer(b"".join(text_sha256(text)[:8] for text in texts), dtype="<i8").astype(np.int64)


@contextmanager
def one_process_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, which a second process waits for; it is released when a process dies."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        print(f"Waiting for another process that is writing {folder}.", file=sys.stderr, flush=True)
        lock.acquire()
    except OSError as error:
        raise UserError(
            f"{folder.parent} cannot be written ({error.strerror or error}), where "
            f"{folder.name} is made once. Name a folder of yours in CODEQUARRY_CACHE."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def in_one_step(out: Path, *, replace: bool, mark: str) -> Iterator[Path]:
    """Yield an empty folder to write into, which becomes `out` if the block ends well.

    What a killed process left next to it is removed, or put back, by the next call.

    Arguments: `replace` and `mark` as in `refuse_existing`, which is what it raises.

    >>> with in_one_step(Path("releases/mini"), replace=False, mark="manifest.json") as building:
    ...     (building / "README.md").write_text("…")
    """
    building, old = out.with_name(f".{out.name}.building"), out.with_name(f".{out.name}.old")
    _clear_leftovers(out, building, old)
    refuse_existing(out, replace=replace, mark=mark)
    building.mkdir(parents=True)
    yield building
    if out.exists():
        out.rename(old)
    building.rename(out)
    if old.exists():
        shutil.rmtree(old)


def share_weights(folder: Path) -> None:
    """Let whoever may enter `folder` read its `*.safetensors`, as its other files.

    safetensors (0.8) writes them for their owner alone; a server often runs as another user.
    """
    for file in folder.glob("*.safetensors"):
        file.chmod(folder.stat().st_mode & 0o666)


def refuse_existing(out: Path, *, replace: bool, mark: str) -> None:
    """Raise UserError when `out` exists, unless `replace`, or has no file `mark`, as a release has."""
    if not out.exists():
        return
    if not replace:
        raise UserError(
            f"{out} exists. Choose another folder, or pass --replace to put this release in its place."
        )
    if not (out / mark).is_file():
        raise UserError(
            f"{out} is not a release (it has no {mark}), so it is not replaced. Choose another folder."
        )


def _clear_leftovers(out: Path, building: Path, old: Path) -> None:
    if building.exists():
        shutil.rmtree(building)
    if old.exists() and not out.exists():
        old.rename(out)  # killed between the two renames: the older release is still the newest whole one
    elif old.exists():
        shutil.rmtree(old)
