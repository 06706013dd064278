"""Real git repositories, made on the spot and dated by hand."""

import os
import subprocess
from pathlib import Path

import pytest


class Repository:
    """A checkout whose commits come one day apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.day = 0
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str, author: str = "Ann <ann@example.org>") -> str:
        """What git prints; the clock stands at the first of January 2020 and as many days as commits."""
        name, _, address = author.rstrip(">").partition(" <")
        values = {"NAME": name, "EMAIL": address, "DATE": f"{1577836800 + 86400 * self.day} +0000"}
        people = {f"GIT_{who}_{what}": values[what] for who in ("AUTHOR", "COMMITTER") for what in values}
        command = ["git", "-C", str(self.folder), *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | people)
        return done.stdout.strip()

    def commit(self, message: str, files: dict[str, str | bytes | None], **more: str) -> str:
        """Write, or with None remove, files and commit them; gives the hash."""
        for path, text in files.items():
            place = self.folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                place.unlink()
            else:
                place.write_bytes(text if isinstance(text, bytes) else text.encode())
        self.day += 1
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "-m", message, **more)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "project")
