"""Load a release in a fresh process of every runtime that an interpreter has, and judge its vectors.

A process runs one of `runners` alone in an empty folder, so that nothing of codequarry can help it.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from codequarry.release import runners
from codequarry.release.compare import Distance, distances
from codequarry.release.tolerances import TOLERANCES, known_difference


@dataclass(frozen=True)
class Kind:
    """A kind of runtime: its name, the program that runs it, the packages it takes, the file it reads."""

    name: str
    program: str
    packages: tuple[str, ...]
    reads: str = "model*.safetensors"


KINDS = (
    Kind("sentence-transformers", "with_sentence_transformers.py", ("sentence_transformers",)),
    Kind("transformers", "with_transformers.py", ("transformers", "torch")),
    Kind("onnxruntime", "with_onnxruntime.py", ("onnxruntime", "transformers"), "onnx/*.onnx"),
    Kind("openvino", "with_openvino.py", ("openvino", "transformers"), "onnx/model.onnx"),
    Kind("llama-cpp-python", "with_llama_cpp.py", ("llama_cpp",), "*.gguf"),
)


@dataclass(frozen=True)
class Runtime:
    """What one runtime made of a release, in one precision.

    kind: such as `sentence-transformers`. versions: of it and what it stands on; {} if it did not get so far.
    worst_absolute_difference, worst_cosine: over the texts that are held to a tolerance.
    problems, exceptions: sentences that name this runtime.
    """

    kind: str
    python: Path
    precision: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    worst_absolute_difference: float = float("nan")
    worst_cosine: float = float("nan")
    problems: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Such as `sentence-transformers 3.4.1 with transformers 4.57.6`, or the interpreter if it failed."""
        return _name(self.kind, self.versions) if self.versions else f"{self.kind} of {self.python}"


def runtimes(folder: Path, python: Path) -> list[Runtime]:
    """Every runtime of `python` that can read what is in `folder`, in a new process each.

    An interpreter that cannot be started, or has no runtime at all, is a row with a problem.
    """
    # As a shell would find it, for it is started in another folder; not resolved, or an environment is lost.
    python = Path(shutil.which(python) or python).absolute()
    try:
        installed = _installed(python)
    except (OSError, ValueError) as error:
        return [Runtime("Python", python, problems=(f"{python} cannot be started ({error}).",))]
    readers = [kind for kind in KINDS if any(folder.glob(kind.reads))]
    found = [
        row for kind in readers if installed.issuperset(kind.packages) for row in reload(folder, python, kind)
    ]
    needed = ", ".join(kind.name for kind in readers)
    nothing = f"{python} has none of {needed}: install one there, or leave --python out."
    return found or [Runtime("Python", python, problems=(nothing,))]


def reload(folder: Path, python: Path, kind: Kind) -> list[Runtime]:
    """Embed the golden texts with one runtime; a row a precision, or one with a problem."""
    with tempfile.TemporaryDirectory() as alone:
        for program in Path(runners.__file__).parent.glob("*.py"):
            shutil.copy(program, alone)
        Path(alone, "__init__.py").unlink()
        done = _run([python, kind.program, folder.resolve(), "out.npz"], alone)
        if done.returncode != 0:
            problem = f"{kind.name} of {python} could not load the folder and encode with it: {_ending(done)}"
            return [Runtime(kind.name, python, problems=(problem,))]
        versions = json.loads(done.stdout.splitlines()[-1])
        with np.load(Path(alone, "out.npz")) as arrays:
            passes = {name: arrays[name] for name in arrays}
    golden = json.loads((folder / "golden_vectors.json").read_text(encoding="utf-8"))
    try:
        found = distances(golden, passes)
    except ValueError as error:
        problem = f"{kind.name} of {python} gave other vectors than were asked for: {error}"
        return [Runtime(kind.name, python, problems=(problem,))]
    return [
        _judge(kind, python, versions, precision, [one for one in found if one.precision == precision])
        for precision in dict.fromkeys(one.precision for one in found)
    ]


def _judge(
    kind: Kind, python: Path, versions: Mapping[str, str], precision: str, found: Sequence[Distance]
) -> Runtime:
    tolerance, name = TOLERANCES[precision], _name(kind.name, versions)
    problems: list[str] = []
    exceptions: dict[str, str] = {}
    held: list[Distance] = []
    for one in found:
        within = tolerance.allows(one)
        known = None if within else known_difference(kind.name, versions[kind.name], one.kind)
        if known:
            exceptions[one.kind] = f"{name} {known.why}."
            continue
        held.append(one)
        if not within:
            problems.append(f"{name}, {one}: {tolerance.miss(one)} at {one.text!r}.")
    return Runtime(
        kind.name,
        python,
        precision,
        versions,
        max((one.absolute_difference for one in held), default=float("nan")),
        min((one.cosine for one in held), default=float("nan")),
        tuple(problems),
        tuple(exceptions.values()),
    )


def _name(kind: str, versions: Mapping[str, str]) -> str:
    below = [f"{name} {version}" for name, version in versions.items() if name not in (kind, "torch")]
    return f"{kind} {versions[kind]}" + (f" with {', '.join(below)}" if below else "")


def _installed(python: Path) -> set[str]:
    packages = sorted({package for kind in KINDS for package in kind.packages})
    ask = (
        "import importlib.util, sys\n"
        "print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name)))"
    )
    with tempfile.TemporaryDirectory() as alone:
        done = _run([python, "-c", ask, *packages], alone)
    if done.returncode != 0:
        raise ValueError(_ending(done))
    return set(done.stdout.split())


def _run(words: Sequence[str | Path], folder: str) -> subprocess.CompletedProcess[str]:
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    # Where this package was found must not be found by the other interpreter.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | offline
    return subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )


def _ending(done: "subprocess.CompletedProcess[str]") -> str:
    if done.returncode >= 0:
        return _error_line(done.stderr)
    ended = f"signal {-done.returncode} ended it"
    return f"{ended}, as it does where memory is short" if done.returncode == -signal.SIGKILL else ended


def _error_line(stderr: str) -> str:
    # An error's message may go on for lines; its first line says what it is.
    lines = stderr.strip().splitlines() or ["no message"]
    return next((line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception):", line)), lines[-1])
