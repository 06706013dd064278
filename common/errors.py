"""Errors that users see: one sentence and an exit code instead of a traceback."""

import argparse
import difflib
import errno
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class UserError(ValueError):
    """What a user can mend; the message says what was given, what was expected, and what to do.

    The command line prints the message alone. Every other exception is a fault of codequarry's and is printed
    with its traceback.
    """


class MissingPackageError(UserError, ImportError):
    """An optional package that is not installed; the message holds the command that installs it."""


_TORCH = ("torch", "transformers", "sentence_transformers")


@contextmanager
def torch_as_extra(what: str) -> Iterator[None]:
    """Raise MissingPackageError where something in the block imports torch, and it is not installed.

    what: needs it, for the sentence. Every other package that is missing stays what it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _TORCH:
            raise
        raise MissingPackageError(
            f"{what} needs {error.name}, which is not installed: pip install 'codequarry[torch]'. Search "
            "with pico or mini does without."
        ) from error


_PLACE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)

_INTERRUPTED = 130  # what shells give for Ctrl-C


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Exit with 1 and the message of a `UserError` or of a path that cannot be written; 130 after Ctrl-C.

    An interruption may carry a message (`Stopped`). Any other exception is a fault of this program: it keeps
    its traceback, with a line on what to do with it, and exits with 1.
    """
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # `codequarry search … | head` closed our output
        sys.stderr.close()
    except OSError as error:
        if error.errno not in _PLACE_ERRORS:
            raise
        place = error.filename or "a file"
        sys.exit(
            f"error: {place}: {error.strerror}. What was there before is unchanged. Free some space, or pass "
            "another path to write to; the same command then resumes."
        )
    except KeyboardInterrupt as stop:
        if str(stop):
            print(stop, file=sys.stderr)
        sys.exit(_INTERRUPTED)
    except Exception:
        print(
            "This is a fault of codequarry, not of what it was given. Please report it with the command and "
            "the lines below.",
            file=sys.stderr,
        )
        raise


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The sentence that suggests the nearest of the `known` names, after a space; empty if none is near.

    >>> did_you_mean("nl2cod", ["nl2code", "qa"])
    " Did you mean 'nl2code'?"
    """
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s'\"]*@")
_QUERY = re.compile(r"(://[^\s'\"?#]*)[?#][^\s'\"]*")


def without_credentials(text: str) -> str:
    """`text`, its addresses without user and password before the host, and without a query after the path.

    >>> without_credentials("cloning https://me:token@host/name?key=secret")
    'cloning https://host/name'
    """
    return _QUERY.sub(r"\1", _CREDENTIALS.sub("", text))


def some(names: Sequence[str], most: int = 5) -> str:
    """The first `most` names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def run_program(
    about: str | None,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    run: Callable[[argparse.Namespace], None],
) -> None:
    """Parse the command line and run a program under `exit_on_user_error`.

    Arguments: `about`, the file's docstring, for `--help`.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    with exit_on_user_error():
        run(parser.parse_args())


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# How safetensors gives the number: since 0.6, and before.
_RUST_ERROR = re.compile(r"(?:\(os error |\bOs \{ code: )(\d+)")


def disk_is_full(error: BaseException) -> str | None:
    """What the system said when `error` comes from a disk, quota or file size that is full; else None."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return os.strerror(error.errno)
    if (found := _RUST_ERROR.search(str(error))) and int(found[1]) in _FULL:
        return os.strerror(int(found[1]))
    # torch.save: where the file ends is not where it should, and no word of why
    if isinstance(error, RuntimeError) and "inline_container" in str(error):
        return "a file could not be written to its end"
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` reports that a GPU or this machine is out of memory."""
    import torch  # here, because a run's folder is looked at before torch is loaded

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


@contextmanager
def full_disk_as_user_error(
    folder: Path, what: str, advice: str, needed: int | None = None
) -> Iterator[None]:
    """Turn a full disk into a UserError that says what could not be written and how much room there is.

    Arguments:
        folder: where it is written.
        what: begins the sentence, e.g. `the checkpoint of step 40`.
        advice: ends it: what is safe and what to do.
        needed: bytes it takes, about; None where unknown.
    """
    try:
        yield
    except Exception as error:
        reason = disk_is_full(error)
        if reason is None:
            raise
        free = shutil.disk_usage(folder).free
        room = f"{_size(free)} are free"
        if needed is not None:
            lack = (
                f"free {_size(needed - free)}" if needed > free else "look at quotas and limits (ulimit -f)"
            )
            room = f"it takes about {_size(needed)}, and {room}: {lack}"
        raise UserError(f"{what} was not written to {folder} ({reason}; {room}). {advice}") from error


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
