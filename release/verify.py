"""Is this folder still the release that was built, and does it give the same vectors elsewhere?

>>> verification = verify(Path("releases/mini"), pythons=[Path("other-env/bin/python")])
>>> print(verification.table())
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from codequarry.common.environment import describe_machine, int8_kernels, processor
from codequarry.common.errors import UserError
from codequarry.common.files import file_sha256
from codequarry.common.tables import text_table
from codequarry.modules.golden_vectors import GOLDEN
from codequarry.release.card_checks import check_card
from codequarry.release.config_checks import check_backbone, check_fields
from codequarry.release.gguf import check_gguf, is_gguf
from codequarry.release.golden import check_golden
from codequarry.release.manifest import check_expected, check_manifest
from codequarry.release.runtimes import KINDS, NONE, Runtime, runtimes
from codequarry.release.tokenizer import check_tokenizer


@dataclass(frozen=True)
class Verification:
    """The findings of `verify`.

    problems: sentences; the release must not be used while there is one.
    exceptions: sentences, each on a known difference of a runtime.
    runtimes: a row per runtime and precision; none where the files were already wrong.
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
        """The runtimes in columns, the processor, every problem, every named exception, and the verdict."""
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
        # Vectors of a graph in int8 may depend on the processor's kernels.
        machine = f"processor: {processor()}, int8 kernels {int8_kernels()}"
        lines = [text_table(rows), machine] if self.runtimes else []
        lines += [f"problem: {problem}" for problem in self.problems]
        lines += [f"named exception: {exception}" for exception in self.exceptions]
        verdict = "verified" if self.ok else f"not verified, {len(self.problems)} problems"
        return "\n".join([*lines, f"{self.folder}: {verdict}"])

    def record(self, command: str) -> dict[str, Any]:
        """What `verify --out` writes, for the card: a row per runtime, the machine and the command.

        The sha256 of the golden vectors identifies the weights and prompts.
        """
        return {
            "command": command,
            "date": date.today().isoformat(),
            "hardware": describe_machine() | {"int8_kernels": int8_kernels()},
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


def verify(
    folder: Path, *, pythons: Sequence[Path] = (), expect: str | None = None, progress: bool = True
) -> Verification:
    """Check a release: its files against the manifest, its fields, its tokenizer, and its vectors elsewhere.

    expect: the sha256 of its manifest, or the one its card shows, as you have it from elsewhere; without it
        (None), a release that was changed together with its manifest and records passes for another one.
    pythons: further interpreters, whose runtimes read the release too; those of the running one always do.
    progress: say on stderr what is being checked.

    A folder whose files, fields, tokenizer or tensors are wrong is not loaded. Of a folder of GGUF files the
    metadata is checked instead, and llama.cpp reads it.

    Raises UserError when `folder` is not a folder, and for an `expect` that is no sha256.

    >>> verify(Path("releases/mini")).ok
    True
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: pass what `codequarry release build` wrote.")
    _say(progress, "files and fields")
    in_gguf = is_gguf(folder)
    problems, exceptions = check_manifest(folder), list[str]()
    if expect is not None:
        problems += check_expected(folder, expect)
    if all(path.is_file() or path.is_dir() for path in folder.rglob("*")):  # a pipe would be read for ever
        problems += check_gguf(folder) if in_gguf else check_fields(folder)
    if not problems and not in_gguf:
        _say(progress, "tokenizer, golden texts and weights")
        problems, exceptions = _look_inside(folder)
    if problems:
        return Verification(folder, tuple(problems), tuple(exceptions), ())
    rows = {
        python: runtimes(folder, python, say=partial(_say, progress))
        for python in dict.fromkeys([Path(sys.executable), *pythons])
    }
    # Of the running Python nothing was asked by name: it may have no runtime, as of GGUF, where another has.
    own = Path(sys.executable)
    if own not in pythons and any(row.versions for python in pythons for row in rows[python]):
        rows[own] = [row for row in rows[own] if row.kind != NONE]
    found = [row for of_one in rows.values() for row in of_one]
    problems += _unread_graphs(folder, found)
    problems += [problem for runtime in found for problem in runtime.problems]
    if not in_gguf:  # what a card says changes no vector: those are compared all the same
        problems += check_card(folder)
    exceptions += [exception for runtime in found for exception in runtime.exceptions]
    # A runtime has the same exceptions in each precision.
    return Verification(folder, tuple(problems), tuple(dict.fromkeys(exceptions)), tuple(found))


def _look_inside(folder: Path) -> tuple[list[str], list[str]]:
    what = "tokenizer.json"
    try:
        problems, exceptions = check_tokenizer(folder)
        what = "config.json"
        problems += check_golden(folder) + check_backbone(folder)
    except Exception as error:  # two libraries in compiled code, which raise bare Exception
        return [f"{what} cannot be read: {str(error).strip().partition(chr(10))[0]}."], []
    return problems, exceptions


def _unread_graphs(folder: Path, found: Sequence[Runtime]) -> list[str]:
    kinds = {runtime.kind for runtime in found}
    patterns = [kind.reads for kind in KINDS if kind.name in kinds]
    graphs = [path for path in sorted(folder.glob("onnx/*.onnx")) if not any(map(path.match, patterns))]
    if not graphs:
        return []
    names = " and ".join(path.relative_to(folder).as_posix() for path in graphs)
    return [f"No runtime here read {names}: pip install onnxruntime, or pass a --python that has it."]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no NaN


def _say(progress: bool, what: str) -> None:
    if progress:
        print(f"verify: {what}", file=sys.stderr, flush=True)
