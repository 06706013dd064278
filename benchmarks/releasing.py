"""What a release costs: the wall time and the peak memory of build, verify, card and publish.

    python -m codequarry.benchmarks.releasing runs/nano

Each step is the command that users type, in processes of its own. The Hub is the one of `tests/local_hub`,
begun for this and ended with it: nothing leaves the machine, so random weights may be published (see
`codequarry.benchmarks.random_run`). In the end fresh processes that know nothing of codequarry load the
release by its name alone, with the tag and without a revision, each from an empty cache, and compare their
vectors with the golden ones. A miss ends the program, and nothing is noted of that run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import codequarry
from codequarry.benchmarks.markdown import markdown_table
from codequarry.benchmarks.measured_command import Cost, run_measured
from codequarry.modules.told_in_a_sentence import run_program
from codequarry.modules.whole_files import write_json
from codequarry.release.command import add_pythons

RESULTS = Path("benchmarks/results/releasing.json")
STEPS = ("build", "verify", "card", "publish")
TAG = f"v{codequarry.__version__}"
_PROGRAM = "python -m codequarry.benchmarks.releasing"
_HUB = Path(codequarry.__file__).with_name("tests") / "local_hub" / "server.py"
# What a user writes, who has only sentence-transformers: a line a precision.
_USER = """
import json, sys
import numpy as np
from sentence_transformers import SentenceTransformer

golden, repository, revision = json.load(open(sys.argv[1]))["rows"], sys.argv[2], sys.argv[3] or None
model = SentenceTransformer(repository, revision=revision, device="cpu")
expected = np.array([row["vector"] for row in golden])
while True:
    precision = str(next(model.parameters()).dtype).removeprefix("torch.")
    options = {"normalize_embeddings": True, "show_progress_bar": False}
    vectors = [model.encode([row["text"]], prompt_name=row["prompt_name"], **options)[0] for row in golden]
    vectors = np.array(vectors, np.float64)
    found = {"precision": precision, "texts": len(golden)}
    found["worst_absolute_difference"] = float(np.abs(vectors - expected).max())
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)  # bfloat16's length is near 1 only
    found["worst_cosine"] = float((unit * expected).sum(axis=1).min())
    print(json.dumps(found | {"knows_codequarry": "codequarry" in sys.modules}))
    if precision == "float32":
        break
    model = model.float()
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the program."""
    parser.add_argument("run", type=Path, help="a finished run's folder, or a release's, which is one again")
    add_pythons(parser)
    parser.add_argument(
        "--work",
        type=Path,
        help="a folder with room for the release three times, on the Hub and downloaded; emptied afterwards "
        "(default: among the temporary files)",
    )
    parser.add_argument("--note", default="", help="what else a reader of the figures has to know")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the results file (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Measure one model, note it in the results file in the place of an older row of it, print the table."""
    record = _read(arguments.out)
    row = measure(arguments.run, arguments.pythons, arguments.work)
    row |= {"note": arguments.note} if arguments.note else {}
    others = [other for other in record["rows"] if other["model"] != row["model"]]
    record["rows"] = sorted([*others, row], key=lambda one: int(one["parameters"]))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out, record)
    print(f"{releasing_table(record)}\n\nwrote {arguments.out}")


def measure(run_folder: Path, pythons: Sequence[Path] = (), work: Path | None = None) -> dict[str, Any]:
    """Release the run in `run_folder` on a local Hub and load it from there: one row of the results file.

    Raises ValueError where a step fails, and where a vector is not the golden one.
    """
    from codequarry.benchmarks.origin import origin, written_command
    from codequarry.release.definitions import definitions
    from codequarry.release.publish import is_trained
    from codequarry.release.run_folder import RunFolder
    from codequarry.release.weights import stored_tensors

    source = RunFolder.read(run_folder)
    name = str(source.recipe.get("name") or run_folder.name)
    defined = definitions().get(name)
    repository = defined.repository if defined else f"local/{name}"
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix="releasing-") as folder:
        place = Path(folder).resolve()
        with _local_hub(place / "hub") as address:
            costs = _release(source.folder, place, repository, address, pythons)
            loads = [_load(place, repository, revision, address) for revision in (TAG, None)]
        release = place / "release"
        weights = sorted(release.glob("*.safetensors"))
        return {
            "model": name,
            "repository": repository,
            "trained": is_trained(release),
            "parameters": sum(one.numbers for file in weights for one in stored_tensors(file).values()),
            "weight_files": len(weights),
            "bytes": sum(path.stat().st_size for path in release.rglob("*") if path.is_file()),
            "steps": {
                step: {"seconds": cost.seconds, "peak_bytes": cost.peak_bytes} for step, cost in costs.items()
            },
            "runtimes": json.loads((place / "verification.json").read_text(encoding="utf-8"))["rows"],
            "loads": loads,
            **origin(written_command(_PROGRAM)),
        }


def _release(
    run_folder: Path, place: Path, repository: str, address: str, pythons: Sequence[Path]
) -> dict[str, Cost]:
    release, verification = str(place / "release"), str(place / "verification.json")
    others = [word for python in pythons for word in ("--python", str(python.absolute()))]
    commands: dict[str, list[str]] = {
        "build": ["release", "build", str(run_folder.resolve()), "--out", release],
        "verify": ["release", "verify", release, "--out", verification, *others],
        "card": ["card", release, "--load-as", repository, "--verification", verification],
        "publish": ["release", "publish", release, "--repo", repository, "--tag", TAG, "--really", *others],
    }
    program = [sys.executable, "-m", "codequarry"]
    environment = _environment(place / "home", address)
    return {step: run_measured([*program, *commands[step]], environment, place) for step in STEPS}


def _load(place: Path, repository: str, revision: str | None, address: str) -> dict[str, Any]:
    """What a stranger's process makes of the release, by name alone."""
    from codequarry.release.tolerances import TOLERANCES

    home = place / "stranger"
    environment = _environment(home, address) | {"PYTHONPATH": "", "HF_TOKEN": ""}
    print(f"loading {repository} {f'at {revision}' if revision else 'without a revision'}", file=sys.stderr)
    words = [sys.executable, "-c", _USER, str(place / "release" / "golden_vectors.json"), repository]
    done = subprocess.run(
        [*words, revision or ""], cwd=place / "hub", env=environment, stdout=subprocess.PIPE, text=True
    )
    shutil.rmtree(home, ignore_errors=True)
    if done.returncode != 0:
        raise ValueError(f"{repository} could not be loaded from the Hub; what was said stands above.")
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for one in found:
        allowed = TOLERANCES[one["precision"]]
        far, near = allowed.absolute_difference, allowed.cosine
        if one.pop("knows_codequarry"):
            raise ValueError("the process that was to know nothing of codequarry had it imported.")
        if not (far is None or one["worst_absolute_difference"] <= far) or not (
            near is None or one["worst_cosine"] >= near
        ):
            raise ValueError(f"{repository} at {revision or 'main'} does not give the golden vectors: {one}.")
    return {"revision": revision, "precisions": found}


def _environment(home: Path, address: str) -> dict[str, str]:
    """This process's, for a user `me` of the Hub at `address` whose home is empty."""
    temporary = home.with_name("temporary")
    temporary.mkdir(parents=True, exist_ok=True)
    return os.environ | {
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "HF_TOKEN": "hf_me_0123456789abcdef",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_ETAG_TIMEOUT": "60",  # seconds; this machine may be busy
        "HF_HUB_DOWNLOAD_TIMEOUT": "60",
        "TMPDIR": str(temporary),
    }


@contextmanager
def _local_hub(folder: Path) -> Iterator[str]:
    if not _HUB.is_file():
        raise ValueError(
            f"{_HUB} is not there: run this in a checkout of codequarry, whose tests hold a Hub."
        )
    with subprocess.Popen(
        [sys.executable, str(_HUB), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            yield server.stdout.readline().strip() if server.stdout else ""
        finally:
            server.kill()


def releasing_table(record: Mapping[str, Any]) -> str:
    """The models of a results file, a line each: size, time and memory of each step, and the distance of any
    number from the golden vectors where the model is loaded by its name on the Hub.
    """
    head = ["model", "parameters", "on disk", *STEPS, "loaded by name, worst difference"]
    lines = [
        [
            f"`{row['model']}`",
            f"{row['parameters'] / 1e6:,.1f}M{'' if row['trained'] else ', random'}",
            f"{row['bytes'] / 1e6:,.0f} MB in {row['weight_files']}",
            *(_cost(row["steps"][step]) for step in STEPS),
            _worst(row["loads"]),
        ]
        for row in record["rows"]
    ]
    return markdown_table(head, lines)


def _cost(step: Mapping[str, Any]) -> str:
    seconds, memory = f"{step['seconds']:,.0f} s", step["peak_bytes"]
    if memory is None:
        return seconds
    return f"{seconds}, {memory / 1e9:.1f} GB" if memory >= 1e9 else f"{seconds}, {memory / 1e6:.0f} MB"


def _worst(loads: Sequence[Mapping[str, Any]]) -> str:
    """Of all loads, a precision after the other."""
    worst: dict[str, float] = {}
    for one in (one for load in loads for one in load["precisions"]):
        found = one["worst_absolute_difference"]
        worst[one["precision"]] = max(found, worst.get(one["precision"], 0.0))
    return ", ".join(f"{precision} {found:.1e}" for precision, found in worst.items())


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"measured": "build, verify, card and publish against a local Hub", "rows": []}
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
