"""What a release costs: time, memory and size of build, verify, card and publish; a row per model.

    python -m codequarry.benchmarks.releasing runs/nano
    python -m codequarry.benchmarks.releasing 0.5b --onnx fp32 int8 --gguf f16 q8_0 q4_k_m --work room

Each step is the command that users type, in processes of its own. The Hub is that of `tests/local_hub`,
started for this: nothing leaves the machine. In the end new processes load the release by its name alone,
each from an empty cache, and compare their vectors with the golden ones. A difference ends the program, and
no row is written.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import codequarry
from codequarry.benchmarks.measured_command import Usage, run_measured
from codequarry.common.environment import origin, written_command
from codequarry.common.errors import UserError, run_program
from codequarry.common.files import read_json, temporary_folder, write_json
from codequarry.common.tables import markdown_table

RESULTS = Path("benchmarks/results")
STEPS = ("build", "verify", "card", "publish")
TAG = f"v{codequarry.__version__}"
_HUB = Path(codequarry.__file__).with_name("tests") / "local_hub" / "server.py"

# What a user writes who has only sentence-transformers: every golden text as stored, then in float32.
_STOCK = """
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
    print(json.dumps(found | {"imported_codequarry": "codequarry" in sys.modules}))
    if precision == "float32":
        break
    model = model.float()
"""
# And who embeds with codequarry in a framework: the golden texts of one task.
_FRAMEWORK = """
import json, sys
import numpy as np
IMPORT

golden, repository = json.load(open(sys.argv[1]))["rows"], sys.argv[2]
embeddings = MAKE(repository, task="nl2code", device="cpu")
sides = {"nl2code_query": embeddings.QUERY, "nl2code_document": lambda text: embeddings.DOCUMENTS([text])[0]}
rows = [row for row in golden if row["prompt_name"] in sides and row["kind"] == "ordinary"]
vectors = np.array([sides[row["prompt_name"]](row["text"]) for row in rows], np.float64)
expected = np.array([row["vector"] for row in rows])
found = {"precision": "as stored", "texts": len(rows), "imported_codequarry": True}
found["worst_absolute_difference"] = float(np.abs(vectors - expected).max())
unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
found["worst_cosine"] = float((unit * expected).sum(axis=1).min())
print(json.dumps(found))
"""


def _in_framework(**words: str) -> str:
    program = _FRAMEWORK
    for name, word in words.items():
        program = program.replace(name, word)
    return program


LOADS = {
    "sentence-transformers": _STOCK,
    "langchain": _in_framework(
        IMPORT="from codequarry.integrations.langchain import CodequarryEmbeddings",
        MAKE="CodequarryEmbeddings",
        QUERY="embed_query",
        DOCUMENTS="embed_documents",
    ),
    "llama-index": _in_framework(
        IMPORT="from codequarry.integrations.llama_index import CodequarryEmbedding",
        MAKE="CodequarryEmbedding",
        QUERY="get_query_embedding",
        DOCUMENTS="get_text_embedding_batch",
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the program."""
    add = parser.add_argument
    add("run", help="a finished run's folder, or 0.5b")
    add("--onnx", nargs="+", default=[], help="as of `release build`")
    add("--gguf", nargs="+", default=[], help="as of `release build`; this Python needs llama-cpp-python")
    add(
        "--python",
        dest="pythons",
        type=Path,
        action="append",
        default=[],
        help="another Python whose runtimes verify the release, as of `release verify`; may be given again",
    )
    add(
        "--work",
        type=Path,
        help="a folder with room for the release three times, on the Hub and downloaded; emptied afterwards "
        "(default: among the temporary files)",
    )
    add("--note", default="", help="what else a reader of the figures has to know")
    add("--out", type=Path, default=RESULTS, help="the folder of the results files (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Measure one model, write its row in the place of an older one and what was verified; print all."""
    out: Path = arguments.out
    with _folder(arguments.work) as place:
        row = measure(arguments, place)
        row |= {"note": arguments.note} if arguments.note else {}
        file = out / "releasing.json"
        record: dict[str, Any] = (
            read_json(file) if file.is_file() else {"measured": "what a release costs", "rows": []}
        )
        others = [other for other in record["rows"] if other["model"] != row["model"]]
        record["rows"] = sorted([*others, row], key=lambda one: int(one["parameters"]))
        out.mkdir(parents=True, exist_ok=True)
        for made in sorted(place.glob("verify-*.json")):
            shutil.copyfile(made, out / made.name)
        write_json(file, record)
    print(f"{releasing_table(record)}\n\nwrote {file}")


@contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    if work is None:
        with temporary_folder("releasing") as folder:
            yield folder
        return
    if work.exists() and any(work.iterdir()):
        raise UserError(f"{work} is not empty: pass a folder of its own, which is emptied afterwards.")
    work.mkdir(parents=True, exist_ok=True)
    try:
        yield work.resolve()
    finally:
        shutil.rmtree(work)


def measure(arguments: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Release a run on a local Hub and load it from there, in the folder `place`: one row of the results.

    Raises UserError where a step fails, and where a vector is not the golden one.
    """
    from codequarry.release.registry import definition_for
    from codequarry.release.weights import stored_tensors

    name = Path(arguments.run).name
    release = place / name
    run_folder = str(Path(arguments.run).resolve()) if Path(arguments.run).exists() else arguments.run
    options = [word for kind in ("onnx", "gguf") for word in _option(kind, getattr(arguments, kind))]
    others = [word for python in arguments.pythons for word in ("--python", str(python.absolute()))]
    verifications = {release: place / f"verify-{name}.json"}
    if arguments.gguf:
        verifications[place / f"{name}-GGUF"] = place / f"verify-{name}-GGUF.json"
    with _local_hub(place / "hub") as address:
        environment = _environment(place / "home", address)

        def cost(*words: str | Path) -> Usage:
            program = [sys.executable, "-m", "codequarry"]
            return run_measured([*program, *map(str, words)], environment, place)

        costs = {"build": cost("release", "build", run_folder, "--out", release, *options)}
        recipe = read_json(release / "training.json")["recipe"]
        defined = definition_for(recipe)
        repository = defined.repository if defined else f"local/{name}"
        for folder, out in verifications.items():
            step = "verify" if folder == release else "verify GGUF"
            costs[step] = cost("release", "verify", folder, "--out", out, *others)
        verification = verifications[release]
        costs["card"] = cost("card", release, "--load-as", repository, "--verification", verification)
        costs["publish"] = cost("release", "publish", release, "--repo", repository, "--tag", TAG, "--really")
        asked = [("sentence-transformers", TAG), *((library, None) for library in LOADS)]
        loads = [load(place, release, repository, address, *one) for one in asked]
    weights = sorted(release.glob("*.safetensors"))
    return {
        "model": str(recipe.get("name") or name),
        "repository": repository,
        "trained": read_json(release / "training.json")["steps"] > 0,
        "parameters": sum(one.numbers for file in weights for one in stored_tensors(file).values()),
        "weight_files": len(weights),
        "bytes": sum(path.stat().st_size for path in release.rglob("*") if path.is_file()),
        "files": {
            path.relative_to(place).as_posix(): path.stat().st_size
            for folder in verifications
            for path in sorted(folder.rglob("*"))
            if path.suffix in {".safetensors", ".onnx", ".data", ".gguf"}
        },
        "steps": {step: asdict(taken) for step, taken in costs.items()},
        "runtimes": [row for out in verifications.values() for row in read_json(out)["rows"]],
        "loads": loads,
        **origin(written_command("python -m codequarry.benchmarks.releasing")),
    }


def _option(name: str, values: Sequence[str]) -> list[str]:
    return [f"--{name}", *values] if values else []


def load(
    place: Path, release: Path, repository: str, address: str, library: str, revision: str | None
) -> dict[str, Any]:
    """How far the vectors are of a new process that loads the published `release` by name in a library.

    Raises UserError where it fails, and where it gives other vectors than the golden ones.
    """
    from codequarry.release.runtimes import TOLERANCES

    home, stock = place / "stranger", library == "sentence-transformers"
    environment = _environment(home, address) | {"HF_TOKEN": ""} | ({"PYTHONPATH": ""} if stock else {})
    at = f"{repository} at {revision or 'main'} in {library}"
    print(f"loading {at}", file=sys.stderr)
    words = [sys.executable, "-c", LOADS[library], str(release / "golden_vectors.json"), repository]
    done = subprocess.run(
        [*words, revision or ""], cwd=place / "hub", env=environment, stdout=subprocess.PIPE, text=True
    )
    shutil.rmtree(home, ignore_errors=True)
    if done.returncode != 0:
        raise UserError(f"{at} could not be loaded from the Hub; what was printed is above.")
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    stored = read_json(release / "config.json")["dtype"]
    for one in found:
        if one.pop("imported_codequarry") and stock:
            raise UserError("the process that has only sentence-transformers imported codequarry.")
        allowed = TOLERANCES[stored if one["precision"] == "as stored" else one["precision"]]
        far, near = allowed.absolute_difference, allowed.cosine
        if not (far is None or one["worst_absolute_difference"] <= far) or not (
            near is None or one["worst_cosine"] >= near
        ):
            raise UserError(f"{at} does not give the golden vectors: {one}.")
    return {"library": library, "revision": revision, "precisions": found}


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
        raise UserError(f"{_HUB} is missing: run this in a checkout of codequarry, whose tests have a Hub.")
    with subprocess.Popen(
        [sys.executable, str(_HUB), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            yield server.stdout.readline().strip() if server.stdout else ""
        finally:
            server.kill()


def releasing_table(record: Mapping[str, Any]) -> str:
    """The models of a results file, a line each: size, time and memory of each step, and the distance of any
    number from the golden vectors where the model is loaded by its name on the Hub; `-`: not done.
    """
    head = ["model", "parameters", "on disk", *STEPS, "loaded by name, worst difference"]
    lines = [
        [
            f"`{row['model']}`",
            f"{row['parameters'] / 1e6:,.1f}M{'' if row['trained'] else ', random'}",
            f"{row['bytes'] / 1e6:,.0f} MB in {row['weight_files']}",
            *(_cost(row["steps"][step]) if step in row["steps"] else "-" for step in STEPS),
            _worst(row["loads"]) or "-",
        ]
        for row in record["rows"]
    ]
    return markdown_table(head, lines)


def _cost(step: Mapping[str, Any]) -> str:
    seconds, memory = f"{step['seconds']:,.0f} s", step["peak_bytes"]
    if (on_cores := step.get("cpu_seconds")) is not None:
        seconds = f"{on_cores:,.0f} s of CPU"
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


def files_table(row: Mapping[str, Any]) -> str:
    """The files of weights of one model's release, with their sizes."""
    lines = [[f"`{name}`", f"{size / 1e6:,.0f}"] for name, size in row["files"].items()]
    return markdown_table(["file", "MB"], lines)


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
