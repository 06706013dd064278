"""A model is saved under stock class names while it stays in use."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer

from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.instruction_prefix import InstructionPrefix
from codequarry.modules.last_token_pooling import LastTokenPooling
from codequarry.modules.serialization import stock_view

TEXTS = ["def f(): ...", "sort a list"]


@pytest.fixture
def model(small_decoder: Path) -> CodeEmbedder:
    return build_model(str(small_decoder), max_length=96, device="cpu")


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_two_threads_that_save_at_once_write_the_same_stock_folder(
    model: CodeEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second save is in its first module while the first one begins and ends."""
    model.save(str(tmp_path / "alone"))
    second_is_in, first_is_done = threading.Event(), threading.Event()
    saving: Callable[..., None] = Transformer.save

    def save(module: Any, *args: Any, **kwargs: Any) -> None:
        if threading.current_thread().name == "second":
            second_is_in.set()
            assert first_is_done.wait(60)
        else:
            assert second_is_in.wait(60)
        saving(module, *args, **kwargs)

    monkeypatch.setattr(Transformer, "save", save)
    threads = {
        name: threading.Thread(target=model.save, args=(str(tmp_path / name),), name=name)
        for name in ("first", "second")
    }
    for thread in threads.values():
        thread.start()
    threads["first"].join()
    first_is_done.set()
    threads["second"].join()
    assert files(tmp_path / "first") == files(tmp_path / "second") == files(tmp_path / "alone")
    types = [module["type"] for module in json.loads((tmp_path / "alone/modules.json").read_text())]
    assert all(name.startswith("sentence_transformers.") for name in types)
    stock = SentenceTransformer(str(tmp_path / "second"), device="cpu")
    assert np.array_equal(stock.encode(TEXTS, prompt_name="qa_query"), model.encode_query(TEXTS, task="qa"))


def test_a_model_refuses_an_empty_text_also_while_it_is_saved(
    model: CodeEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving: Callable[..., None] = Transformer.save

    def save(module: Any, *args: Any, **kwargs: Any) -> None:
        assert type(model[0]) is InstructionPrefix
        assert type(model[1]) is LastTokenPooling
        with pytest.raises(ValueError, match="is empty"):
            model.encode_query(["  "])
        saving(module, *args, **kwargs)

    monkeypatch.setattr(Transformer, "save", save)
    model.save(str(tmp_path))


def test_a_view_shares_the_weights_and_leaves_stock_modules_as_they_are(model: CodeEmbedder) -> None:
    view = stock_view(model)
    assert [type(module).__module__.partition(".")[0] for module in view] == ["sentence_transformers"] * 3
    assert view[2] is model[2]
    assert all(one is other for one, other in zip(view.parameters(), model.parameters(), strict=True))
    assert stock_view(view) is view
