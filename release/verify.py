"""Is this folder still the release that was built, and does it mean the same elsewhere?

>>> verification = verify(Path("releases/mini"), pythons=[Path("other-env/bin/python")])
>>> print(verification.table())
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from codequarry.modules.machine import describe_machine
from codequarry.release.field_checks import check_fields
from codequarry.release.golden import GOLDEN
from codequarry.release.manifest import check_manifest, file_sha256
from codequarry.release.runtimes import Runtime, runtimes
from codequarry.release.tokenizer_checks import check_tokenizer


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    problems: sentences; the release must not be used while there is one.
    exceptions: sentences; where a runtime is known to differ, by name.
    runtimes: one row a runtime and precision; none where the files were already wrong.
    """

    folder: Path
    problems: tuple[str, ...]
    exceptions: tuple[str, ...]
    runtimes: tuple[Runtime, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem; exceptions are allowed."""
        return not self.problems

    def table(self) -> str:
        """The runtimes in columns, then every problem and every named exception, then the verdict."""
        rows = [("runtime", "precision", "worst difference", "worst cosine", "")]
        rows += [
            (
                runtime.name,
                runtime.precision or "-",
                f"{runtime.worst_absolute_difference:.1e}",
                f"{runtime.worst_cosine:.7f}",
                "not ok" if runtime.problems else "ok",
            )
            for runtime in self.runtimes
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
        ]
        lines = [line.rstrip() for line in lines] if self.runtimes else []
        lines += [f"problem: {problem}" for problem in self.problems]
        lines += [f"named exception: {exception}" for exception in self.exceptions]
        verdict = "verified" if self.ok else f"not verified, {len(self.problems)} problems"
        return "\n".join([*lines, f"{self.folder}: {verdict}"])

    def record(self, command: str) -> dict[str, Any]:
        """What `verify --out` writes, for the card: a row a runtime, and where and how it was found.

        command: what was typed. The sha256 of the golden vectors tells which weights and prompts it was.
        """
        return {
            "command": command,
            "date": date.today().isoformat(),
            "hardware": describe_machine(),
            "golden_vectors": file_sha256(self.folder / GOLDEN),
            "problems": list(self.problems),
            "exceptions": list(self.exceptions),
            "rows": [
                {
                    "runtime": runtime.kind,
                    "version": runtime.versions.get(runtime.kind),
                    "precision": runtime.precision,
                    "worst_cosine": _number(runtime.worst_cosine),
                    "worst_absolute_difference": _number(runtime.worst_absolute_difference),
                    "ok": not runtime.problems,
                }
                for runtime in self.runtimes
            ],
        }


def verify(folder: Path, *, pythons: Sequence[Path] = (), progress: bool = True) -> Verification:
    """Check a release: its files against the manifest, its fields, its tokenizer, and its vectors elsewhere.

    pythons: further interpreters, whose runtimes read the release too; those of the running one always do.
    progress: say on stderr what is being looked at.

    A folder whose files, fields or tokenizer are wrong is not loaded.

    Raises ValueError when `folder` is not a folder.

    >>> verify(Path("releases/mini")).ok
    True
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: pass what `codequarry release build` wrote.")
    _say(progress, "files and fields")
    problems = check_manifest(folder) + check_fields(folder)
    if problems:
        return Verification(folder, tuple(problems), (), ())
    _say(progress, "tokenizer")
    try:
        problems, exceptions = check_tokenizer(folder)
    except Exception as error:  # two libraries in compiled code, which raise bare Exception
        return Verification(folder, (f"tokenizer.json cannot be read: {error}.",), (), ())
    if problems:
        return Verification(folder, tuple(problems), tuple(exceptions), ())
    found: list[Runtime] = []
    for python in dict.fromkeys([Path(sys.executable), *pythons]):
        _say(progress, f"vectors, with {python}")
        found += runtimes(folder, python)
    problems += [problem for runtime in found for problem in runtime.problems]
    exceptions += [exception for runtime in found for exception in runtime.exceptions]
    return Verification(folder, tuple(problems), tuple(exceptions), tuple(found))


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no NaN


def _say(progress: bool, what: str) -> None:
    if progress:
        print(f"verify: {what}", file=sys.stderr, flush=True)
