"""Run a command and measure it: wall time, processor time, and the memory of it and of all its processes."""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codequarry.common.errors import UserError

_PAUSE = 0.05  # seconds between two looks at the memory
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096  # bytes; /proc counts memory in pages


@dataclass(frozen=True)
class Usage:
    """What a command took.

    seconds, cpu_seconds: from its start to its end, and of its processes on all cores. peak_bytes: the most
    that they held at one moment, pages of files that they had mapped among them, and what two of them share
    counted in both: no less than what a machine needs. None where there is no /proc.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int | None


def run_measured(words: Sequence[str], environment: Mapping[str, str], folder: Path) -> Usage:
    """Run a command to its end in `folder`; what it prints is printed.

    Raises UserError when it ends with anything but 0.
    """
    started = time.perf_counter()
    process = subprocess.Popen(words, env=dict(environment), cwd=folder)
    watch = _Watch(process.pid)
    watch.start()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    watch.ended.set()
    watch.join()
    seconds = time.perf_counter() - started
    if process.returncode != 0:
        raise UserError(f"`{' '.join(words)}` ended with {process.returncode}; what it printed is above.")
    return Usage(round(seconds, 1), round(usage.ru_utime + usage.ru_stime, 1), watch.peak or None)


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
