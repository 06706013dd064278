"""Embeds what a search left: every chunk that its task searches, in a process that outlives the search.

    python -m codequarry.search.background path/to/code --model mini --task nl2code

It runs with low priority, one at a time for a checkout, and may be killed: what is embedded by then stays.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from codequarry.common.errors import exit_on_user_error
from codequarry.common.files import is_running
from codequarry.search.database import database_path


def start(root: Path, model: str, task: str, dims: int | None = None) -> int | None:
    """Start it for a checkout; returns its process's number, None where one is at it already.

    Arguments as in `query.Searcher`.
    """
    mark = _mark(root)
    with suppress(OSError, ValueError):
        if is_running(int(mark.read_text("utf-8"))):
            return None
    words = ["-m", "codequarry.search.background", str(root.resolve()), "--model", model, "--task", task]
    words += [] if dims is None else ["--dims", str(dims)]
    process = subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in the terminal is not meant for it
    )
    mark.write_text(str(process.pid), "utf-8")
    return process.pid


def _mark(root: Path) -> Path:
    """The file that holds the number of the process that is at work on a checkout."""
    return database_path(root).with_suffix(".background")


def main(words: Sequence[str] | None = None) -> None:
    """Embed what is missing, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--dims", type=int)
    arguments = parser.parse_args(words)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in `codequarry search`
    if hasattr(os, "nice"):
        os.nice(10)
    from codequarry.search.query import Searcher

    with exit_on_user_error():
        Searcher(arguments.root, arguments.model, dims=arguments.dims, progress=False).embed_rest(
            arguments.task
        )
    _mark(arguments.root).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
