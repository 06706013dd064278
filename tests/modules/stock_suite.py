"""A pytest plugin: the tests of sentence-transformers' class, over that class or ours, without a network.

`test_stock_suite.py` starts pytest with it. The tests ask the Hub for models by name; `write_stand_ins` fills
a cache of the Hub's client with small ones of random weights under these names: loading goes its usual way.
"""

import json
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import sentence_transformers
import torch

from codequarry.modules.backbone import MINI, resolve_backbone

REVISIONS = {  # of the stand-in that tests load by revision, and its seed
    "f3cb857cba53019a20df283396bcca179cf051a4": 1,
    "ba33022fdf0b0fc2643263f0726f44d0a07d0e24": 2,
}
NEWEST = next(iter(REVISIONS))
TINY = "sentence-transformers-testing/stsb-bert-tiny-safetensors"
WIDE = ["sentence-transformers/paraphrase-distilroberta-base-v1", "distilbert-base-uncased"]
BACKBONES = ["distilbert/distilbert-base-uncased", "google-bert/bert-base-uncased", "bert-base-uncased"]


def pytest_configure(config: pytest.Config) -> None:
    """Put our class where the tests import theirs from, before any of them is read."""
    if os.environ["STOCK_SUITE_CLASS"] == "ours":
        from codequarry.modules.embedder import CodeEmbedder

        sentence_transformers.SentenceTransformer = CodeEmbedder  # type: ignore[misc]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One line a finished phase: test, outcome, and the end of what it said."""
    if report.when == "call" or report.outcome != "passed":
        line = {"test": report.nodeid, "outcome": report.outcome, "why": report.longreprtext[-2000:]}
        with Path(os.environ["STOCK_SUITE_RECORD"]).open("a", encoding="utf-8") as opened:
            opened.write(json.dumps(line) + "\n")


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    torch.manual_seed(0)


def _model(name: str) -> Any:
    model = sentence_transformers.SentenceTransformer(name, device="cpu")
    model.model_card_data.generate_widget_examples = False
    return model


@pytest.fixture(scope="session")
def _tiny() -> Any:
    return _model(TINY)


@pytest.fixture
def stsb_bert_tiny_model(_tiny: Any) -> Any:
    return deepcopy(_tiny)


@pytest.fixture
def paraphrase_distilroberta_base_v1_model() -> Any:
    return _model(WIDE[0])


@pytest.fixture
def distilbert_base_uncased_model() -> Any:
    return _model(WIDE[1])


@pytest.fixture
def cache_dir(tmp_path: Path) -> str:
    return str(tmp_path)


def write_stand_ins(cache: Path) -> None:
    """Models of the shapes that the tests expect, in the layout of the Hub client's cache."""
    for revision, seed in REVISIONS.items():
        _write_model(_snapshot(cache, TINY, revision), 128, seed)
    for name in WIDE:
        _write_model(_snapshot(cache, name, NEWEST), 768, 3)
    for name in BACKBONES:
        _write_backbone(_snapshot(cache, name, NEWEST), 128, 4)


def _snapshot(cache: Path, name: str, revision: str) -> Path:
    repository = cache / f"models--{name.replace('/', '--')}"
    folder = repository / "snapshots" / revision
    folder.mkdir(parents=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(NEWEST)
    return folder


def _write_backbone(folder: Path, width: int, seed: int) -> None:
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokenizer = AutoTokenizer.from_pretrained(resolve_backbone(MINI))
    tokenizer.split_special_tokens, tokenizer.model_max_length = False, 512
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    shape = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * width,
        # Without these, ours refuses every smaller size as one the model was not trained for.
        matryoshka_dimensions=[width >> step for step in range(width.bit_length())],
    )
    BertModel(shape).save_pretrained(folder)


def _write_model(folder: Path, width: int, seed: int) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    backbone = folder.parent.parent / f"backbone-{seed}"
    _write_backbone(backbone, width, seed)
    modules = [Transformer(str(backbone)), Pooling(width, "mean")]
    model = sentence_transformers.SentenceTransformer(modules=modules, device="cpu")
    model.save(str(folder))
