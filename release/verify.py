"""Is this folder still the release that was built, and does it mean the same elsewhere?

>>> verification = verify(Path("releases/mini"), pythons=[Path("other-env/bin/python")])
>>> print(verification.table())
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codequarry.release.field_checks import check_fields
from codequarry.release.manifest import check_manifest
from codequarry.release.runtimes import Runtime, reload
from codequarry.release.tokenizer_checks import check_tokenizer


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    problems: sentences; the release must not be used while there is one.
    exceptions: sentences; where a runtime is known to differ, by name.
    runtimes: one row an interpreter; none where the files were already wrong.
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
        rows = [("runtime", "loaded as", "worst difference", "worst cosine", "")]
        rows += [
            (
                runtime.name,
                runtime.loaded_as or "-",
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


def verify(folder: Path, *, pythons: Sequence[Path] = (), progress: bool = True) -> Verification:
    """Check a release: its files against the manifest, its fields, its tokenizer, and its vectors elsewhere.

    pythons: further interpreters to reload the release with, each with its own sentence-transformers; the
        running one is always among them.
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
    runtimes = []
    for python in dict.fromkeys([Path(sys.executable), *pythons]):
        _say(progress, f"vectors, with {python}")
        runtimes.append(reload(folder, python))
    problems += [problem for runtime in runtimes for problem in runtime.problems]
    exceptions += [exception for runtime in runtimes for exception in runtime.exceptions]
    return Verification(folder, tuple(problems), tuple(exceptions), tuple(runtimes))


def _say(progress: bool, what: str) -> None:
    if progress:
        print(f"verify: {what}", file=sys.stderr, flush=True)
