"""What several tests share: the real MiniLM weights, and a small decoder with a tokenizer of its own."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: a test that asks the network fails

import inspect
from pathlib import Path

import pytest

from codequarry.modules.backbone import EMBEDDED_BASE, resolve_backbone
from codequarry.modules.decoder_shape import DecoderShape

SMALL = DecoderShape(hidden_size=64, layers=2, heads=4, kv_heads=2, intermediate_size=128, vocabulary=600)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the real all-MiniLM-L6-v2."""
    return resolve_backbone(EMBEDDED_BASE)


@pytest.fixture(scope="session")
def small_decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 decoder of 64 hidden numbers with random weights, rope theta 1e6."""
    from codequarry.modules.random_backbone import train_tokenizer, write_random_backbone

    folder = tmp_path_factory.mktemp("backbone") / "small"
    tokenizer = train_tokenizer([inspect.getsource(inspect)], SMALL.vocabulary)
    return write_random_backbone(folder, SMALL, tokenizer, seed=1)
