"""What several tests share: the real MiniLM weights, and a small decoder with a tokenizer of its own."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: a test that asks the network fails

import ctypes
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codequarry.modules.backbone import EMBEDDED_BASE, DecoderShape, resolve_backbone

SMALL = DecoderShape(hidden_size=64, layers=2, heads=4, kv_heads=2, intermediate_size=128, vocabulary=600)


@pytest.fixture(scope="module", autouse=True)
def freed_memory_is_given_back() -> Iterator[None]:
    """After each file, freed memory goes back to the system: glibc would keep up to 0.8 GB more a worker."""
    yield
    if sys.platform == "linux" and hasattr(trim := ctypes.CDLL(None), "malloc_trim"):
        trim.malloc_trim(0)


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


@pytest.fixture(scope="module")
def mini() -> Any:
    """The model that comes with the package."""
    import codequarry

    return codequarry.load("mini", device="cpu")


@pytest.fixture(scope="session")
def static_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static model of random rows, of 32, 16 and 8 dimensions, as `train.py` saves one."""
    import torch
    from sentence_transformers.sentence_transformer.modules import Normalize

    from codequarry.modules.embedder import CodeEmbedder
    from codequarry.modules.static_embedding import PromptedStaticEmbedding, StaticConfig
    from codequarry.modules.static_tokenizer import train_static_tokenizer
    from codequarry.modules.tasks import CODE

    tokenizer = train_static_tokenizer([inspect.getsource(inspect)], 800, CODE)
    rows = torch.randn(tokenizer.get_vocab_size(), 32, generator=torch.Generator().manual_seed(1))
    module = PromptedStaticEmbedding(tokenizer, rows, config=StaticConfig(matryoshka_dimensions=[32, 16, 8]))
    model = CodeEmbedder(
        modules=[module, Normalize()], prompts=CODE.prompts(), similarity_fn_name="cosine", device="cpu"
    )
    folder = tmp_path_factory.mktemp("static") / "static"
    model.save(str(folder))
    return folder


@pytest.fixture(scope="module")
def decoder(small_decoder: Path) -> Any:
    """A model of last-token pooling on it, of 64 and 32 dimensions."""
    from codequarry.modules.build import build_model

    return build_model(str(small_decoder), max_length=64, dims=(64, 32))


@pytest.fixture(scope="session")
def minilm_model() -> Any:
    """all-MiniLM-L6-v2, plain: without prompts."""
    from codequarry.benchmarks.models import load_model

    return load_model("all-MiniLM-L6-v2")


@pytest.fixture
def texts() -> list[str]:
    """Tabs and Windows line ends, letters outside ASCII, more tokens than are read, an empty line."""
    return [
        "def add(a, b):\n\treturn a + b\r\n",
        "x = 1  # naïve 漢字",
        "total = sum(values)\n" * 80,
        "for row in table:\n\n    print(row)\n",
    ]


class Repository:
    """A checkout whose commits come one day apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.day = 0
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str, author: str = "Ann <ann@example.org>") -> str:
        """What git prints; the clock stands at the first of January 2020 and as many days as commits."""
        name, _, address = author.rstrip(">").partition(" <")
        values = {"NAME": name, "EMAIL": address, "DATE": f"{1577836800 + 86400 * self.day} +0000"}
        people = {f"GIT_{who}_{what}": values[what] for who in ("AUTHOR", "COMMITTER") for what in values}
        command = ["git", "-C", str(self.folder), *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | people)
        return done.stdout.strip()

    def commit(self, message: str, files: dict[str, str | bytes | None], **more: str) -> str:
        """Write, or with None remove, files and commit them; gives the hash."""
        for path, text in files.items():
            place = self.folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                place.unlink()
            else:
                place.write_bytes(text if isinstance(text, bytes) else text.encode())
        self.day += 1
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "-m", message, **more)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "project")
