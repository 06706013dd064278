"""Where figures come from: what stands in every results file beside them."""

import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from codequarry.modules.machine import describe_machine, package_versions


def origin(command: str) -> dict[str, Any]:
    """The command that made figures, with today's date, this machine and the versions installed on it."""
    return {
        "command": command,
        "date": date.today().isoformat(),
        "hardware": describe_machine(),
        "versions": package_versions(),
    }


def written_command(program: str = "codequarry", words: Sequence[str] | None = None) -> str:
    """The command line as results files keep it: a folder of this machine by its last name only.

    Arguments:
        program: what is typed before the words.
        words: those that were typed; None: this process's.
    """
    given = sys.argv[1:] if words is None else words
    return " ".join([program, *(_without_folders(word) for word in given)])


def _without_folders(word: str) -> str:
    option, equals, value = word.rpartition("=")
    return f"{option}{equals}{Path(value).name}" if value.startswith("/") else word
