from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codequarry.benchmarks.models import BenchmarkModel, load_model
from codequarry.inference import vector_cache as module
from codequarry.inference.encoder import truncate

TEXTS = ["sort a list", "parse a date and give it back", "x = 1", "open a socket to an address"]


class Watched:
    """A model that counts the texts it embeds and may fail at a given call."""

    def __init__(self, model: Any, fail_at: int = -1) -> None:
        self._model, self._fail_at = model, fail_at
        self.texts: list[str] = []
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, texts: Sequence[str], **options: Any) -> Any:
        self.calls += 1
        if self.calls == self._fail_at:
            raise KeyboardInterrupt
        self.texts += texts
        return self._model.encode(texts, **options)


def watched(given: BenchmarkModel, fail_at: int = -1) -> tuple[BenchmarkModel, Watched]:
    model = Watched(given.model, fail_at)
    made = BenchmarkModel(given.label, model, given.ours, given.fingerprint)  # type: ignore[arg-type]
    return made, model


def test_vectors_are_the_models_own_in_the_order_of_the_texts(minilm_model: BenchmarkModel) -> None:
    found = minilm_model.stored_vectors(None, compute="fp32").embed(TEXTS, "")
    np.testing.assert_allclose(found, minilm_model.model.encode(TEXTS), atol=1e-6)
    assert found.dtype == np.float32


def test_a_text_is_embedded_once_a_prompt_in_this_run_and_in_the_next(
    minilm_model: BenchmarkModel, tmp_path: Path
) -> None:
    made, model = watched(minilm_model)
    first = made.stored_vectors(tmp_path)
    before = first.embed([*TEXTS, TEXTS[0]], "")
    first.embed(TEXTS[:2], "query: ")
    again = made.stored_vectors(tmp_path).embed(TEXTS[::-1], "")
    assert sorted(model.texts) == sorted([*TEXTS, *TEXTS[:2]])
    np.testing.assert_array_equal(again[::-1], before[:4])


def test_a_run_that_was_killed_goes_on_where_it_was(
    minilm_model: BenchmarkModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 2)
    made, killed = watched(minilm_model, fail_at=2)
    with pytest.raises(KeyboardInterrupt):
        made.stored_vectors(tmp_path).embed(TEXTS, "")
    made, resumed = watched(minilm_model)
    made.stored_vectors(tmp_path).embed(TEXTS, "")
    assert len(killed.texts) == len(resumed.texts) == 2
    assert set(killed.texts) | set(resumed.texts) == set(TEXTS)


def test_other_weights_and_other_arithmetic_share_no_vector(
    minilm_model: BenchmarkModel, tmp_path: Path
) -> None:
    minilm_model.stored_vectors(tmp_path, compute="fp32").embed(TEXTS[:1], "")
    other = BenchmarkModel("x", minilm_model.model, False, "another fingerprint")
    made, model = watched(other)
    made.stored_vectors(tmp_path, compute="fp32").embed(TEXTS[:1], "")
    assert model.texts == TEXTS[:1]


def test_a_damaged_file_is_named(minilm_model: BenchmarkModel, tmp_path: Path) -> None:
    minilm_model.stored_vectors(tmp_path).embed(TEXTS, "")
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=f"{file.name} is damaged.*delete it"):
        minilm_model.stored_vectors(tmp_path).embed(TEXTS, "")


def test_a_blank_text_is_like_nothing(minilm_model: BenchmarkModel) -> None:
    assert not minilm_model.stored_vectors(None).embed(["", " \n"], "").any()


def test_speed_counts_texts_and_their_true_tokens(minilm_model: BenchmarkModel, tmp_path: Path) -> None:
    minilm_model.stored_vectors(tmp_path).embed(TEXTS, "")
    stored = minilm_model.stored_vectors(tmp_path)
    stored.embed(TEXTS, "")  # measured then, remembered now
    tokenizer: Any = minilm_model.model.tokenizer
    assert stored.speed.texts == 4
    assert stored.speed.tokens == sum(len(ids) for ids in tokenizer(TEXTS)["input_ids"])
    assert stored.record()["texts_per_second"] > 0


def test_what_is_computed_anew_is_neither_read_nor_kept(minilm_model: BenchmarkModel, tmp_path: Path) -> None:
    made, model = watched(minilm_model)
    stored = made.stored_vectors(tmp_path, compute="fp32")
    first = stored.computed(TEXTS, "")
    np.testing.assert_array_equal(stored.computed(TEXTS, ""), first)
    assert model.texts == [*TEXTS, *TEXTS]
    assert not list(tmp_path.rglob("*.npz"))


def test_a_static_model_is_computed_in_fp32_on_every_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codequarry.inference.encoder.has_fast_bf16", lambda device: True)
    assert load_model("pico", device="cpu").stored_vectors(None).record()["compute"] == "fp32"
    assert load_model("mini", device="cpu").stored_vectors(None).record()["compute"] == "bf16"


def test_truncated_vectors_are_unit_length_again_and_zero_stays_zero() -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 32)).astype(np.float32)
    vectors[2] = 0
    cut = truncate(vectors, 8)
    np.testing.assert_allclose(np.linalg.norm(cut, axis=1), [1, 1, 0, 1, 1], atol=1e-6)
    np.testing.assert_allclose(cut[0], vectors[0, :8] / np.linalg.norm(vectors[0, :8]), atol=1e-6)


def test_speed_is_that_of_the_texts_of_this_run_whenever_they_were_embedded(
    minilm_model: BenchmarkModel, tmp_path: Path
) -> None:
    earlier = minilm_model.stored_vectors(tmp_path, progress=False)
    earlier.embed(TEXTS[:2], "")
    first = earlier.speed
    earlier.embed(TEXTS[2:], "")
    assert earlier.speed.texts == 4
    later = minilm_model.stored_vectors(tmp_path, progress=False)
    later.embed(TEXTS[:1], "")
    assert later.speed == first, "measured in chunks, here of two texts"
