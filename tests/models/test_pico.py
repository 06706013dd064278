"""The static model that comes with the package: whole, small, and alone with neither torch nor network."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import codequarry
from codequarry.inference.static_encoder import StaticEncoder
from codequarry.model_card.render import render
from codequarry.modules.backbone import PICO, SHIPPED
from codequarry.modules.tasks import SIDES, TASKS, prompt_name
from codequarry.release.card import card_of
from codequarry.release.card_checks import check_card
from codequarry.release.config_checks import check_fields
from codequarry.release.manifest import check_manifest, contents_sha256
from codequarry.release.trained_run import RunFolder

FOLDER = SHIPPED[PICO]


def test_it_is_the_release_that_was_built() -> None:
    assert check_manifest(FOLDER) == []
    assert check_fields(FOLDER) == []
    assert check_card(FOLDER) == []


def test_it_takes_at_most_17_megabytes_and_is_float32_in_memory() -> None:
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) <= 17e6
    model = codequarry.load("pico", device="cpu")
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    assert model.matryoshka_dims == (256, 128, 64)
    assert model.max_seq_length is None


def test_its_golden_vectors_are_those_of_the_encoder_without_torch() -> None:
    encoder = StaticEncoder(FOLDER)
    golden = json.loads((FOLDER / "golden_vectors.json").read_text(encoding="utf-8"))
    names = {prompt_name(task, side): (task, side) for task in TASKS for side in SIDES}
    rows = [row for row in golden["rows"] if row["prompt_name"] in names]
    assert len(rows) > 20
    for row in rows:
        own = encoder.encode([row["text"]], *names[row["prompt_name"]])[0]
        assert np.abs(own - np.array(row["vector"])).max() < 1e-6


def test_its_card_is_its_results_rendered() -> None:
    results = Path(__file__).parents[2] / "benchmarks" / "results"  # of the checkout; no part of the wheel
    files = {
        "results": results / "pico.json",
        "decontamination": results / "decontamination-pico.json",
        "verification": results / "verify-pico.json",
    }
    card = card_of(RunFolder.read(FOLDER), load_as="path/to/pico", dtype="fp16", in_memory="fp16", **files)
    again = " ".join(f"--{name} {path.relative_to(results.parents[1])}" for name, path in files.items())
    written = (FOLDER / "README.md").read_text(encoding="utf-8")
    card = replace(card, contents=contents_sha256(FOLDER))
    assert written == render(card), f"write it anew: codequarry card models/pico {again}"


def test_it_answers_where_torch_is_not_installed_and_no_network_is() -> None:
    program = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('pico asked the network')\n"
        "socket.socket.connect = refuse\n"
        "for name in ('torch', 'transformers', 'sentence_transformers'): sys.modules[name] = None\n"
        "from codequarry.inference.static_encoder import StaticEncoder\n"
        "from codequarry.modules.backbone import PICO, SHIPPED\n"
        "encoder = StaticEncoder(SHIPPED[PICO])\n"
        "texts = ['def parse(text):\\n    return date.fromisoformat(text)', 'def send(mail): ...']\n"
        "scores = encoder.encode(texts, 'nl2code', 'document') @ encoder.encode_query('parse a date', 'nl2code')\n"
        "assert scores[0] > scores[1] + 0.1\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
