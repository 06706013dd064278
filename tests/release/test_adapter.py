"""The adapter of a run by itself: bf16 weights, card, record and golden vectors."""

import inspect
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import codequarry
from codequarry.__main__ import main
from codequarry.modules import backbone
from codequarry.modules.adapter_folder import AdapterBase, file_of, write_base
from codequarry.modules.backbone import ADAPTERS, GGUF_BACKBONES, GGUF_FOLDER
from codequarry.modules.build import build_model
from codequarry.modules.gguf_backbone import sha256_of
from codequarry.modules.random_backbone import train_tokenizer
from codequarry.release.build import pack_adapter
from codequarry.training.lora import add_adapter, merge_adapter, save_adapter

sys.path.insert(0, str(Path(__file__).parents[1] / "modules"))
from small_gguf import write_small_gguf

pytest.importorskip("peft")


@pytest.fixture
def run(small_decoder: Path, tmp_path: Path) -> Path:
    """What a finished run with a [lora] table leaves."""
    torch.manual_seed(0)
    model = build_model(str(small_decoder), max_length=96, dims=(64, 16), device="cpu")
    add_adapter(model, rank=4, alpha=8.0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    folder = tmp_path / "run"
    save_adapter(model, folder / "adapter", base="qwen2.5-coder-0.5b")
    write_base(
        folder / "adapter", AdapterBase(str(small_decoder), None, file_of(model), "lasttoken", 96, (64, 16))
    )
    merge_adapter(model).save(str(folder))
    record = {
        "recipe": {"name": "0.5b-lora", "backbone": {"name": "qwen2.5-coder-0.5b"}, "data": "/home/me/pairs"},
        "steps": 150,
        "data": [
            {"source": "tldr", "task": "nl2code", "pairs": 64, "licence": "CC-BY-4.0", "pairs_drawn": 64}
        ],
    }
    (folder / "training.json").write_text(json.dumps(record))
    return folder


def test_weights_may_be_read_by_whoever_may_enter_their_folder(run: Path, tmp_path: Path) -> None:
    main(["release", "adapter", str(run), "--out", str(tmp_path / "adapter")])
    files = [*run.rglob("*.safetensors"), *(tmp_path / "adapter").glob("*.safetensors")]
    assert len(files) == 3
    for file in files:
        assert file.stat().st_mode & 0o777 == file.parent.stat().st_mode & 0o666


def test_it_loads_and_its_golden_vectors_are_what_it_answers(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    main(["release", "adapter", str(run), "--out", str(out)])
    assert {file.name for file in out.iterdir()} == {
        "README.md", "LICENSE", "adapter_config.json", "adapter_model.safetensors", "base.json",
        "golden_vectors.json", "training.json",
    }  # fmt: skip
    assert {one.dtype for one in load_file(out / "adapter_model.safetensors").values()} == {torch.bfloat16}
    assert json.loads((out / "training.json").read_text())["recipe"]["data"] == "pairs"
    model = codequarry.load(str(out), device="cpu")
    golden = json.loads((out / "golden_vectors.json").read_text())
    assert golden["dims"] == [64, 16]
    assert len(golden["rows"]) > 20
    for row in golden["rows"]:
        vector = model.encode([row["text"]], prompt_name=row["prompt_name"])[0]
        assert np.abs(vector - row["vector"]).max() < 1e-6
    whole = codequarry.load(str(run), device="cpu")
    texts = ["parse a date", "def f(x): return x"]
    near = whole.encode_document(texts, task="qa") * model.encode_document(texts, task="qa")
    assert near.sum(axis=1).min() > 0.9999  # bf16 rounds the adapter


def test_its_card_names_the_base_the_file_and_what_it_was_trained_on(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack_adapter(run, tmp_path / "adapter", load_as="0.5b")
    card = (tmp_path / "adapter/README.md").read_text()
    assert 'codequarry.load("0.5b")' in card
    assert "base_model: Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF" in card
    assert "| tldr | CC-BY-4.0 | nl2code | 64 | 64 |" in card
    assert "Optimiser steps: 150" in card


def test_its_card_names_the_stage_it_began_with_and_what_that_was_trained_on(
    run: Path, tmp_path: Path
) -> None:
    record = json.loads((run / "training.json").read_text())
    first = {
        "recipe": {"batch_size": 32, "learning_rate": 5e-4, "max_length": 96},
        "steps": 133,
        "seconds": 7200,
        "data": [{"source": "so", "task": "qa", "pairs": 9, "licence": "CC-BY-SA-4.0", "pairs_drawn": 32}],
    }
    (run / "training.json").write_text(json.dumps({**record, "start": first}))
    pack_adapter(run, tmp_path / "adapter", load_as="0.5b")
    card = (tmp_path / "adapter/README.md").read_text()
    assert (
        "Stage 1: 133 optimiser steps of 32 pairs, learning rate 0.0005, 96 tokens at most, 2.0 hours" in card
    )
    assert "Last stage, optimiser steps: 150" in card
    assert "| so | CC-BY-SA-4.0 | qa | 9 | 32 |" in card
    assert "| tldr | CC-BY-4.0 | nl2code | 64 | 64 |" in card


def test_the_adapter_of_the_package_is_released_as_the_merged_model(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack_adapter(run, tmp_path / "adapter", load_as="0.5b")
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(ADAPTERS, "0.5b", tmp_path / "adapter")
    out = tmp_path / "release"
    main(["release", "build", "0.5b", "--out", str(out), "--dtype", "fp32", "--in-memory", "fp32"])
    texts = ["parse a date", "def f(x): return x"]
    expected = codequarry.load(str(tmp_path / "adapter"), device="cpu").encode_document(texts, task="qa")
    found = codequarry.load(str(out), device="cpu").encode_document(texts, task="qa")
    assert np.abs(found - expected).max() < 1e-6
    assert json.loads((out / "training.json").read_text())["steps"] == 150
    main(["release", "adapter", "0.5b", "--out", str(tmp_path / "alone"), "--with-modules"])
    assert (tmp_path / "alone/modules.json").is_file()
    found = codequarry.load(str(tmp_path / "alone"), device="cpu").encode_document(texts, task="qa")
    assert np.abs(found - expected).max() < 1e-6


def test_with_its_modules_sentence_transformers_and_peft_read_it_on_the_gguf_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gguf")
    (hub := tmp_path / "hub").mkdir()
    file = write_small_gguf(hub / "small.gguf", train_tokenizer([inspect.getsource(inspect)], 600))
    row = replace(
        GGUF_BACKBONES[0], name="small", repository=str(hub), file=file.name, size=file.stat().st_size,
        sha256=sha256_of(file),
    )  # fmt: skip
    monkeypatch.setattr(backbone, "GGUF_BACKBONES", (row,))
    monkeypatch.setenv(GGUF_FOLDER, str(hub))
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    model = build_model("small", max_length=96, dims=(256, 16), device="cpu")
    add_adapter(model, rank=4, alpha=8.0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    run, out = tmp_path / "run", tmp_path / "out"
    save_adapter(model, run / "adapter", base="small")
    write_base(run / "adapter", AdapterBase("small", None, row.sha256, "lasttoken", 96, (256, 16)))
    merge_adapter(model).save(str(run))
    record = {"recipe": {"name": "0.5b-lora", "backbone": {"name": "small"}}, "steps": 1, "data": []}
    (run / "training.json").write_text(json.dumps(record))

    main(["release", "adapter", str(run), "--out", str(out), "--with-modules"])
    assert f'gguf = {{"gguf_file": "{row.file}"}}' in (out / "README.md").read_text()
    page = (Path(__file__).parents[2] / "docs/release.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.+?)^```$", page, re.M | re.S)
    for written, here in ((GGUF_BACKBONES[0].file, row.file), ("releases/0.5b-lora", str(out))):
        assert written in block
        block = block.replace(written, here)
    names: dict[str, Any] = {}
    exec(compile(block, "docs/release.md", "exec"), names)
    stock = names["model"].to("cpu")
    ours = codequarry.load(str(out), device="cpu")
    texts = ["parse a date", "def f(x): return x", "a long text " * 80]
    for prompt in ours.prompts:
        found = stock.encode(texts, prompt_name=prompt, normalize_embeddings=True)
        assert np.abs(found - ours.encode(texts, prompt_name=prompt)).max() < 1e-6


def test_what_is_no_lora_run_and_what_is_no_adapter_is_left_alone(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists and holds no adapter"):
        pack_adapter(run, other, load_as="0.5b")
    with pytest.raises(ValueError, match="holds no adapter"):
        pack_adapter(other, tmp_path / "out", load_as="0.5b")
    pack_adapter(run, tmp_path / "out", load_as="0.5b")
    pack_adapter(run, tmp_path / "out", load_as="other")
    assert 'load("other")' in (tmp_path / "out/README.md").read_text()
