"""The one place where git is started, and the environment that it is started in.

Of the variables `GIT_…` that this process inherited, none reaches git but those by which people reach their
own hosts: inside a hook `GIT_DIR` and `GIT_INDEX_FILE` name another repository than the one asked for.
"""

import os
import re
import selectors
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, cast

from codequarry.common.errors import UserError


class GitError(UserError):
    """git could not read or fetch a repository; the message holds git's own words and the remedy."""


class MissingGitError(GitError):
    """There is no program git on this machine."""


# How people reach their own hosts: kept for what goes to the network, and only there.
_TRANSPORT = re.compile(
    r"GIT_(SSH|SSH_COMMAND|SSH_VARIANT|ASKPASS|SSL_\w+|PROXY_SSL_\w+|HTTP_\w+|CONFIG_(GLOBAL|SYSTEM|NOSYSTEM))"
)
_PROTOCOLS = "https:http:ssh:git:file"  # `ext::` runs any command


def _inherited() -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if not name.upper().startswith("GIT_")}
    return found | {"PATH": os.pathsep.join(_places())}


def _places() -> list[str]:
    """The folders of PATH that are not relative: in the folder that is read, a `git` is the stranger's."""
    return [
        place for place in os.environ.get("PATH", os.defpath).split(os.pathsep) if Path(place).is_absolute()
    ]


def local_environment(home: Path) -> dict[str, str]:
    """The variables for a git that reads this machine's disk alone: no settings of anybody, no network.

    home: an empty folder, the user's home for versions before 2.32, which know no GIT_CONFIG_GLOBAL.
    """
    environment = _inherited() | {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_PAGER": "cat",
        "LC_ALL": "C",
    }
    if git_version() < (2, 32):
        environment |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    return environment


def remote_environment() -> dict[str, str]:
    """The variables for a git that asks a host: the user's own settings, helpers and proxies, no question."""
    transport = {name: value for name, value in os.environ.items() if _TRANSPORT.fullmatch(name)}
    return _inherited() | transport | {
        "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }  # fmt: skip


@lru_cache(maxsize=1)
def git_version() -> tuple[int, ...]:
    """The numbers of the installed git, e.g. (2, 39, 5). Raises UserError where git is not installed."""
    process = start(["--version"], _inherited(), Path(tempfile.gettempdir()))
    printed, _ = process.communicate()
    found = re.search(rb"(\d+)\.(\d+)(?:\.(\d+))?", printed)
    return tuple(int(part) for part in found.groups(b"0")) if found else (0, 0, 0)


def start(
    arguments: Sequence[str | Path],
    environment: Mapping[str, str],
    folder: Path,
    *,
    stdin: Any = subprocess.DEVNULL,
    stderr: Any = subprocess.PIPE,
) -> "subprocess.Popen[bytes]":
    """Start git in `folder`. Raises UserError where git is not installed."""
    found = (shutil.which(Path(place) / "git") for place in _places())
    program = next((one for one in found if one is not None), None)
    if program is None:
        raise MissingGitError("The program git is not installed: install it from git-scm.com.")
    return subprocess.Popen(
        [program, *map(str, arguments)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment,
        cwd=folder,
    )


def run(
    arguments: Sequence[str | Path],
    environment: Mapping[str, str],
    folder: Path,
    *,
    seconds: float | None = None,
) -> bytes:
    """What a git command prints.

    seconds: how long it may take; None for no limit.

    Raises GitError with git's own words when it fails, and when it takes too long.
    """
    with start(arguments, environment, folder) as process:
        try:
            printed, complaints = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as late:
            raise GitError(f"git gave no answer within {seconds:g} seconds") from late
        finally:
            if process.poll() is None:
                process.kill()
    if process.returncode:
        raise GitError(last_words(complaints))
    return printed


_SILENT = 600  # seconds; a few nested folders can stand for billions of files, which git compares silently


class GitStream:
    """The lines that a git command prints, each with its end, for lines on its input.

    Nothing is started before the lines are read.

    failed: git's last words where it stopped early, else ""; known when all lines are read.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        lines: Iterable[str] = (),
    ) -> None:
        self.arguments, self.environment, self.folder, self.asked = arguments, environment, folder, lines
        self.failed = ""

    def __iter__(self) -> Iterator[bytes]:
        with self._running() as process:
            yield from (line + b"\n" for line in _pieces(self._blocks(process), b"\n"))

    def records(self) -> Iterator[bytes]:
        """What the command prints up to each NUL, which is left out."""
        with self._running() as process:
            yield from _pieces(self._blocks(process), b"\0")

    def _blocks(self, process: "subprocess.Popen[bytes]") -> Iterator[bytes]:
        printed = cast(IO[bytes], process.stdout).fileno()
        with selectors.DefaultSelector() as selector:
            if os.name != "nt":  # there a pipe cannot be waited for
                selector.register(printed, selectors.EVENT_READ)
            while not selector.get_map() or selector.select(_SILENT):
                if not (block := os.read(printed, 1 << 16)):
                    return
                yield block
        process.kill()
        self.failed = f"it printed nothing for {_SILENT} seconds"

    @contextmanager
    def _running(self) -> Iterator["subprocess.Popen[bytes]"]:
        self.failed = ""
        # Files, because a pipe on both ends may fill up on both.
        with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as complaints:
            asked.write("".join(f"{one}\n" for one in self.asked).encode())
            asked.seek(0)
            with start(
                self.arguments, self.environment, self.folder, stdin=asked, stderr=complaints
            ) as process:
                try:
                    yield process
                except BaseException:  # nobody reads on
                    process.kill()
                    raise
            if process.returncode and not self.failed:
                complaints.seek(0)
                self.failed = last_words(complaints.read())


def _pieces(blocks: Iterable[bytes], end: bytes) -> Iterator[bytes]:
    """What stands in front of each `end`, and after the last one."""
    begun: list[bytes] = []
    for block in blocks:
        first, *others = block.split(end)
        begun.append(first)
        if others:
            yield b"".join(begun)
            yield from others[:-1]
            begun = [others[-1]]
    if rest := b"".join(begun):
        yield rest


def last_words(complaints: bytes) -> str:
    """Why git failed: the first line that says so, with the one before it, as ssh has the reason there."""
    lines = [line.strip() for line in complaints.decode("utf-8", "replace").splitlines() if line.strip()]
    lines = ["".join(letter if letter.isprintable() else "?" for letter in line) for line in lines]
    reasons = [at for at, line in enumerate(lines) if re.match(r"(remote: )?(fatal|error):", line)]
    if not lines:
        return "it gave no reason"
    if not reasons:
        return lines[-1]
    before = max(0, reasons[0] - 1)
    kept = dict.fromkeys([*lines[before : reasons[0] + 1], lines[reasons[-1]]])
    return "; ".join(line for line in kept if not line.startswith(("Cloning into", "warning:")))
