"""Reload a release in a fresh process of any Python that has sentence-transformers, and judge the answer.

The process runs `reload_stock.py` alone in an empty folder, so that nothing of codequarry can help it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The largest difference of any number of a unit vector, where the weights are computed with in float32.
# Measured: 1.4e-6 at most, over batch sizes, dimensions, and sentence-transformers 3.4.1 and 6.2.
FP32_TOLERANCE = 1e-5
# The smallest cosine to the float32 vector, where they are computed with in bfloat16.
# Measured: 0.99995 at worst with all-MiniLM-L6-v2.
BF16_COSINE = 0.999

# Where an older sentence-transformers answers otherwise by design: kind of text → (major version from which
# on it must agree, why). Seen with 3.4.1.
_KNOWN_DIFFERENCES: Mapping[str, tuple[int, str]] = {
    "outer_whitespace": (
        6,
        "strips white space around a text before it is tokenised, so a text that begins or ends with it "
        "has another vector there",
    ),
}


@dataclass(frozen=True)
class Runtime:
    """What one Python made of a release.

    python: the interpreter. versions: of Python, sentence-transformers, transformers and torch in it.
    loaded_as: the type it computes in, as it loads the folder by itself.
    worst_absolute_difference, worst_cosine: over the texts that are held to a tolerance.
    problems, exceptions: sentences that name this runtime.
    """

    python: Path
    versions: Mapping[str, str] = field(default_factory=dict)
    loaded_as: str = ""
    worst_absolute_difference: float = float("nan")
    worst_cosine: float = float("nan")
    problems: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Such as `sentence-transformers 3.4.1 with transformers 4.57.6`, or the interpreter if it failed."""
        if not self.versions:
            return str(self.python)
        return (
            f"sentence-transformers {self.versions['sentence_transformers']} "
            f"with transformers {self.versions['transformers']}"
        )


def reload(folder: Path, python: Path = Path(sys.executable)) -> Runtime:
    """Load `folder` with the sentence-transformers of `python` in a new process; compare golden vectors."""
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    # Where this package was found must not be found by the other interpreter.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | offline
    with tempfile.TemporaryDirectory() as alone:
        script = shutil.copy(Path(__file__).with_name("reload_stock.py"), alone)
        try:
            done = subprocess.run(
                [str(python), str(script), str(folder.resolve())],
                cwd=alone,
                env=environment,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            return Runtime(python, problems=(f"{python} cannot be started ({error.strerror}).",))
    if done.returncode != 0:
        last = _error_line(done.stderr)
        return Runtime(python, problems=(f"{python} could not load the folder and encode with it: {last}",))
    return _judge(python, json.loads(done.stdout.splitlines()[-1]))


def _error_line(stderr: str) -> str:
    # An error's message may go on for lines; its first line says what it is.
    lines = stderr.strip().splitlines() or ["no message"]
    return next((line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception):", line)), lines[-1])


def _judge(python: Path, answer: dict[str, Any]) -> Runtime:
    versions = {key: answer[key] for key in ("python", "sentence_transformers", "transformers", "torch")}
    runtime = Runtime(python, versions)
    major = int(answer["sentence_transformers"].partition(".")[0])
    problems: list[str] = []
    exceptions: dict[str, str] = {}
    held: list[dict[str, Any]] = []
    for row in answer["measured"]:
        since, reason = _KNOWN_DIFFERENCES.get(row["kind"], (0, ""))
        if _within(row):
            held.append(row)
        elif major < since:
            exceptions[row["kind"]] = f"{runtime.name} {reason}."
        else:
            held.append(row)
            problems.append(
                f"{runtime.name}, {row['dtype']}, {row['kind'].replace('_', ' ')} texts, dim {row['dim']}, "
                f"batch {row['batch_size']}: {_miss(row)} at {row['worst_text']!r}."
            )
    return Runtime(
        python,
        versions,
        answer["loaded_as"],
        max(row["worst_absolute_difference"] for row in held),
        min(row["worst_cosine"] for row in held),
        tuple(problems),
        tuple(exceptions.values()),
    )


def _within(row: dict[str, Any]) -> bool:
    # Written so that NaN is never within.
    if row["dtype"] == "float32":
        return bool(row["worst_absolute_difference"] <= FP32_TOLERANCE)
    return bool(row["worst_cosine"] >= BF16_COSINE)


def _miss(row: dict[str, Any]) -> str:
    if row["dtype"] == "float32":
        return f"{row['worst_absolute_difference']:.1e} from the golden vector, {FP32_TOLERANCE:.0e} allowed,"
    return f"cosine {row['worst_cosine']:.5f} to the golden vector, {BF16_COSINE} required,"
