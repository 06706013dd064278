"""Run a command and say what it took: wall time, and the memory of it and of every process it began."""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PAUSE = 0.05  # seconds between two looks at the memory
_PAGE = os.sysconf("SC_PAGE_SIZE")  # bytes; /proc counts memory in pages


@dataclass(frozen=True)
class Cost:
    """What a command took.

    seconds: from its start to its end. peak_bytes: the most that its processes held at one moment, pages of
    files that they had mapped among them, and what two processes share counted in both: no less than what a
    machine needs. None where there is no /proc.
    """

    seconds: float
    peak_bytes: int | None


def run_measured(words: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> Cost:
    """Run a command to its end; what it prints is printed.

    Arguments: the whole `environment`; the `folder` it runs in, None for this process's own.

    Raises ValueError when it ends with anything but 0.

    >>> run_measured(["sleep", "1"], os.environ).seconds
    1.0
    """
    started = time.perf_counter()
    with subprocess.Popen(words, env=dict(environment), cwd=folder) as process:
        watch = _Watch(process.pid)
        watch.start()
        process.wait()
        watch.ended.set()
        watch.join()
    seconds = time.perf_counter() - started
    if process.returncode != 0:
        raise ValueError(f"`{' '.join(words)}` ended with {process.returncode}; what it said stands above.")
    return Cost(round(seconds, 1), watch.peak or None)


class _Watch(threading.Thread):
    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.ended, self.peak, self._pid = threading.Event(), 0, pid

    def run(self) -> None:
        while not self.ended.wait(_PAUSE):
            self.peak = max(self.peak, sum(_resident(pid) for pid in _with_descendants(self._pid)))


def _with_descendants(pid: int) -> list[int]:
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            begun = children.read_text(encoding="ascii").split()
        except OSError:  # the process or one of its threads has just ended
            continue
        for child in begun:
            found += _with_descendants(int(child))
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
