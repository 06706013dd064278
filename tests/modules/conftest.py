"""A small GGUF file for the tests of this folder; its writer is imported by name."""

import inspect
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def small_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 decoder of two layers in the types of the real backbone: Q4_K, Q5_0, Q6_K, Q8_0."""
    pytest.importorskip("gguf", reason="GGUF is read with an extra: pip install 'codequarry[train]'")
    from small_gguf import write_small_gguf

    from codequarry.modules.random_backbone import train_tokenizer

    tokenizer = train_tokenizer([inspect.getsource(inspect)], 600)
    return write_small_gguf(tmp_path_factory.mktemp("gguf") / "small.gguf", tokenizer)
