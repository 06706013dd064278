"""Read a release in a new process per runtime that an interpreter has, and compare the vectors.

The process runs `runner.py` in an empty folder, so that it finds nothing of codequarry.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from codequarry.common.errors import UserError
from codequarry.common.files import read_json, read_rows, temporary_folder
from codequarry.inference.encoder import unit_vectors
from codequarry.modules.static_files import is_static


@dataclass(frozen=True)
class Kind:
    """A kind of runtime.

    name: it. packages: it takes. reads: the files. static: whether it reads static models (True: nothing
        else; False: anything else; None: both).
    """

    name: str
    packages: tuple[str, ...]
    reads: str = "model*.safetensors"
    static: bool | None = None


KINDS = (
    Kind("sentence-transformers", ("sentence_transformers",)),
    Kind("transformers", ("transformers", "torch"), static=False),
    Kind("model2vec", ("model2vec",), static=True),
    Kind("onnxruntime", ("onnxruntime", "transformers"), "onnx/*.onnx"),
    Kind("openvino", ("openvino", "transformers"), "onnx/model.onnx"),
    Kind("llama-cpp-python", ("llama_cpp",), "*.gguf"),
)


NONE = "Python"  # the kind of a row that says why an interpreter has no runtime


@dataclass(frozen=True)
class Runtime:
    """The comparison of one runtime in one precision.

    kind: such as `sentence-transformers`. versions: of it and the packages below; {} where it failed earlier.
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
        if not self.versions:
            return f"{self.kind} of {self.python}"
        below = [f"{name} {version}" for name, version in self.versions.items()]
        below = [text for text in below[1:] if not text.startswith("torch ")]
        return f"{self.kind} {self.versions[self.kind]}" + (f" with {', '.join(below)}" if below else "")


def runtimes(folder: Path, python: Path, *, say: Callable[[str], None] = lambda what: None) -> list[Runtime]:
    """Every runtime of `python` that can read what is in `folder`, in a new process each.

    say: gets a few words before each, of which a large model's takes minutes.

    An interpreter that cannot be started, or has no runtime at all, is a row with a problem.
    """
    # As a shell would find it, since it is started in another folder; a resolved link would lose its
    # environment.
    python = Path(shutil.which(python) or python).absolute()
    try:
        installed = _installed(python)
    except (OSError, ValueError) as error:
        return [Runtime(NONE, python, problems=(f"{python} cannot be started ({error}).",))]
    other = not is_static(folder)
    readers = [kind for kind in KINDS if any(folder.glob(kind.reads)) and kind.static is not other]
    found: list[Runtime] = []
    for kind in readers:
        if installed.issuperset(kind.packages):
            say(f"vectors in {kind.name}, with {python}")
            found += reload(folder, python, kind)
    needed = ", ".join(kind.name for kind in readers)
    nothing = f"{python} has none of {needed}: install one there, or leave --python out."
    return found or [Runtime(NONE, python, problems=(nothing,))]


def reload(folder: Path, python: Path, kind: Kind) -> list[Runtime]:
    """Embed the golden texts with one runtime: a row per precision, or one with a problem."""
    with temporary_folder("runtime") as alone:
        shutil.copy(Path(__file__).with_name("runner.py"), alone)
        done = _run([python, "runner.py", kind.name, folder.resolve(), "out.npz"], alone)
        if done.returncode != 0:
            problem = f"{kind.name} of {python} could not load the folder and encode with it: {_ending(done)}"
            return [Runtime(kind.name, python, problems=(problem,))]
        versions = json.loads(done.stdout.splitlines()[-1])
        with np.load(alone / "out.npz") as arrays:
            passes = dict(arrays)
    try:
        found = distances(read_json(folder / "golden_vectors.json"), passes)
    except ValueError as error:
        problem = f"{kind.name} of {python} gave other vectors than were asked for: {error}"
        return [Runtime(kind.name, python, problems=(problem,))]
    return [
        _judge(kind, python, versions, precision, [one for one in found if one.precision == precision])
        for precision in dict.fromkeys(one.precision for one in found)
    ]


@dataclass(frozen=True)
class Distance:
    """The worst of one kind of text in one pass: `batch` texts at a time, padded on the side `padding`.

    absolute_difference: the largest of any number of a unit vector. cosine: the smallest. text: whose it is.
    length: of the vector whose length is farthest from 1, as the runtime gave it; 1 where it was cut here.
    """

    kind: str
    precision: str
    padding: str
    batch: int
    dim: int
    absolute_difference: float
    cosine: float
    text: str
    length: float = 1.0

    def __str__(self) -> str:
        side = "" if self.padding == "right" else f", padded {self.padding}"
        kind = self.kind.replace("_", " ")
        return f"{self.precision}, {kind} texts, dim {self.dim}, batch {self.batch}{side}"


_UNIT = 0.01  # a length in bfloat16 is off by 0.004 at most


def _judge(
    kind: Kind, python: Path, versions: Mapping[str, str], precision: str, found: Sequence[Distance]
) -> Runtime:
    tolerance, name = TOLERANCES[precision], Runtime(kind.name, python, versions=versions).name
    problems: list[str] = []
    exceptions: dict[str, str] = {}
    held: list[Distance] = []
    for one in found:
        if not abs(one.length - 1) <= _UNIT:
            problems.append(f"{name}, {one}: a vector has length {one.length:.4f}, not 1.")
        within = tolerance.allows(one)
        if not within and (known := known_difference(kind.name, versions[kind.name], one.kind)):
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


def _installed(python: Path) -> set[str]:
    packages = sorted({package for kind in KINDS for package in kind.packages})
    ask = (
        "import importlib.util, sys\n"
        "print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name)))"
    )
    with temporary_folder("runtime") as alone:
        done = _run([python, "-c", ask, *packages], alone)
    if done.returncode != 0:
        raise UserError(_ending(done))
    return set(done.stdout.split())


def _run(words: Sequence[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
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
    # An error's message may have many lines; its first line says what it is.
    lines = stderr.strip().splitlines() or ["no message"]
    return next((line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception):", line)), lines[-1])


def distances(golden: Mapping[str, Any], passes: Mapping[str, Any]) -> list[Distance]:
    """Compare each pass with the golden vectors, in every smaller dimension too where it has full size only.

    Arguments:
        golden: what `golden_vectors.json` holds.
        passes: arrays (texts, dim) by `precision padding batch dim`, as `runner.py` writes them.

    Raises UserError for a pass that has not one vector per text.

    >>> worst = max(distances(golden, np.load("out.npz")), key=lambda found: found.absolute_difference)
    """
    rows, dims = golden["rows"], golden["dims"]
    expected = np.array([row["vector"] for row in rows])
    kinds: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        kinds.setdefault(row["kind"], []).append(index)
    found = []
    for name, vectors in passes.items():
        precision, padding, batch, width = name.split()
        if vectors.shape != (len(rows), int(width)):
            raise UserError(
                f"pass {name!r} has the shape {vectors.shape}; there are {len(rows)} golden texts."
            )
        # As a client does that wants fewer dimensions than the runtime gives: cut, back to length 1.
        own_cut = f"{precision} {padding} {batch} {dims[-1]}" in passes
        for dim in [int(width)] if own_cut else [dim for dim in dims if dim <= int(width)]:
            cut, answer = unit_vectors(expected[:, :dim]), vectors[:, :dim].astype(np.float64)
            whole = dim == int(width)
            lengths = np.linalg.norm(answer, axis=1) if whole else np.ones(len(answer))
            answer = answer if whole else unit_vectors(answer)
            difference = np.abs(cut - answer).max(axis=1)
            cosine = (cut * unit_vectors(answer)).sum(axis=1)
            for kind, members in kinds.items():
                # NaN must not hide behind another text: it is the largest there is.
                worst = max(members, key=lambda text: (np.isnan(difference[text]), difference[text]))
                far, near = float(difference[members].max()), float(cosine[members].min())
                text = rows[worst]["text"][:60]
                length = float(max(lengths[members], key=lambda one: (np.isnan(one), abs(one - 1))))
                found.append(Distance(kind, precision, padding, int(batch), dim, far, near, text, length))
    return found


@dataclass(frozen=True)
class Tolerance:
    """What is allowed in one precision; None: not held to it.

    absolute_difference: of any number of a unit vector, at most. cosine: at least. measured: the worst seen.
    """

    precision: str
    measured: str
    absolute_difference: float | None = None
    cosine: float | None = None

    def allows(self, found: Distance) -> bool:
        """Whether `found` is within; written so that NaN never is."""
        near = self.absolute_difference is None or found.absolute_difference <= self.absolute_difference
        return near and (self.cosine is None or found.cosine >= self.cosine)

    def miss(self, found: Distance) -> str:
        """How far `found` is, and what is allowed."""
        if self.absolute_difference is not None:
            far, allowed = found.absolute_difference, self.absolute_difference
            return f"{far:.1e} from the golden vector, {allowed:.0e} allowed,"
        return f"cosine {found.cosine:.5f} to the golden vector, {self.cosine} required,"


TOLERANCES = {row.precision: row for row in read_rows(Path(__file__).with_name("tolerances.toml"), Tolerance)}


@dataclass(frozen=True)
class KnownDifference:
    """Texts of `kind` that a runtime reads otherwise by design, below major version `until`; None: always."""

    runtime: str
    kind: str
    why: str
    until: int | None = None


KNOWN_DIFFERENCES = read_rows(Path(__file__).with_name("known_differences.toml"), KnownDifference)


def known_difference(runtime: str, version: str, kind: str) -> KnownDifference | None:
    """The row that excuses texts of `kind` in this version of a runtime; None where there is none."""
    major = int(version.partition(".")[0])
    for row in KNOWN_DIFFERENCES:
        if (row.runtime, row.kind) == (runtime, kind) and (row.until is None or major < row.until):
            return row
    return None
