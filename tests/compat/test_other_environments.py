"""A release read without codequarry by an old sentence-transformers; the wheel alone with an old Hub client.

`make compat` makes the environments and sets CODEQUARRY_COMPAT to their folder.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

import codequarry
from codequarry.common.files import write_json
from codequarry.modules.build import build_model
from codequarry.modules.tasks import TASKS
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.release.build import build
from codequarry.release.layout import Dtype
from codequarry.release.verify import verify
from codequarry.training.run_folder import finish, open_run

if "CODEQUARRY_COMPAT" not in os.environ:
    pytest.skip("the other environments are made by `make compat`", allow_module_level=True)

COMPAT = Path(os.environ["CODEQUARRY_COMPAT"])
OLD_STOCK = COMPAT / "sentence-transformers-3.4.1/bin/python"
WHEEL = COMPAT / "wheel-hub-1.33/bin"
TEXTS = [
    "def add(a, b):\n\treturn a + b\r\n",
    "naïve 漢字",
    "x = '<|endoftext|> [SEP]'",
    "a long text " * 300,
]


def output(words: list[str | Path], **environment: str) -> str:
    result = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, env=os.environ | environment
    )
    assert result.returncode == 0, result.stderr + result.stdout
    return result.stdout


@pytest.fixture(scope="module", params=["mini", "nano"])
def release(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    minilm: Path,
    small_decoder: Path,
) -> Path:
    """An untrained run of each recipe's kind (an encoder, and a decoder of rope theta 1e6), released."""
    recipe = read_recipe(recipe_path(request.param))
    if request.param == "mini":
        model = build_model(str(minilm), pooling="mean", dims=recipe.matryoshka_dims)
    else:
        recipe = replace(recipe, matryoshka_dims=(64, 32), validation=None)
        model = build_model(str(small_decoder), max_length=recipe.max_length, dims=recipe.matryoshka_dims)
    run = tmp_path_factory.mktemp(request.param) / "run"
    open_run(run, recipe, "none", fresh=False)
    finish(
        run,
        model,
        {"recipe": asdict(recipe), "steps": 0, "seconds": 0, "data": [], "hardware": {}, "versions": {}},
    )
    # mini as it is shipped: half the size on disk, float32 for every reader.
    on_disk: Dtype = "bf16" if request.param == "mini" else "fp32"
    return build(run, run.with_name("release"), dtype=on_disk, in_memory="fp32", progress=False)


def test_an_old_and_a_new_sentence_transformers_verify_the_release(release: Path) -> None:
    verification = verify(release, pythons=[OLD_STOCK], progress=False)
    assert verification.ok, verification.table()
    old = [row for row in verification.runtimes if row.python == OLD_STOCK]
    assert {row.kind for row in old} == {"sentence-transformers", "transformers"}
    print(verification.table())


@pytest.mark.parametrize("python", [OLD_STOCK, Path(sys.executable)], ids=["3.4.1", "6.2"])
def test_stock_vectors_equal_those_of_codequarry(release: Path, python: Path, tmp_path: Path) -> None:
    names = [f"{task}_{side}" for task in TASKS for side in ("query", "document")]
    write_json(tmp_path / "asked.json", {"texts": [text.strip() for text in TEXTS], "names": names})
    program = (
        "import json, sys, numpy as np\n"
        "from sentence_transformers import SentenceTransformer\n"
        "assert 'codequarry' not in sys.modules\n"
        "model = SentenceTransformer(sys.argv[1], device='cpu')\n"
        "asked = json.load(open(sys.argv[2]))\n"
        "np.save(sys.argv[3], [model.encode(asked['texts'], prompt_name=name) for name in asked['names']])\n"
    )
    output([python, "-c", program, release, tmp_path / "asked.json", tmp_path / "found.npy"])
    model = codequarry.load(str(release))
    texts = [text.strip() for text in TEXTS]
    ours = [
        model.encode_query(texts, task=task) if side == "query" else model.encode_document(texts, task=task)
        for task in TASKS
        for side in ("query", "document")
    ]
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), ours, atol=1e-5)


def test_the_old_environment_has_no_codequarry() -> None:
    program = (
        "import importlib.util, sentence_transformers as stock\n"
        "print(stock.__version__, importlib.util.find_spec('codequarry'))"
    )
    assert output([OLD_STOCK, "-c", program]).split() == ["3.4.1", "None"]


def test_the_wheel_alone_searches_with_hub_1_33(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/sums.py").write_text("def mean(xs):\n    return sum(xs) / len(xs)\n")
    (tmp_path / "code/mail.py").write_text("def send(to, text):\n    connect().post(to, text)\n")
    assert (
        output([WHEEL / "python", "-c", "import huggingface_hub as h; print(h.__version__)"]).strip()
        == "1.33.0"
    )
    found = output(
        [WHEEL / "codequarry", "search", "average of numbers", tmp_path / "code", "--json", "--top", "1"],
        CODEQUARRY_CACHE=str(tmp_path / "cache"),
    )
    assert json.loads(found)["hits"][0]["path"] == "sums.py"
    assert "train" in output([WHEEL / "codequarry", "--help"])


def test_the_wheel_builds_and_verifies_a_release_with_hub_1_33(release: Path, tmp_path: Path) -> None:
    run = release.with_name("run")
    output([WHEEL / "codequarry", "release", "build", run, "--out", tmp_path / "release"])
    found = output([WHEEL / "codequarry", "release", "verify", tmp_path / "release"])
    assert found.endswith("/release: verified\n")


def test_the_wheel_alone_names_what_training_needs(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(
        json.dumps({"task": "qa", "query": "q", "document": "d", "source": "s", "language": "python"}) + "\n"
    )
    result = subprocess.run(
        [
            str(WHEEL / "codequarry"),
            "train",
            "mini",
            "--out",
            str(tmp_path / "run"),
            "--set",
            f"data={tmp_path}",
        ],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "pip install 'codequarry[train]'" in result.stderr
