import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from codequarry.inference import task_embedder as module
from codequarry.inference.task_embedder import TaskEmbedder
from codequarry.modules.backbone import MINI_FOLDER
from codequarry.modules.tasks import TASKS


@pytest.mark.parametrize("task", TASKS)
def test_each_side_of_each_task_is_the_models_own(decoder: Any, task: str, texts: list[str]) -> None:
    sides = TaskEmbedder(decoder, task=task)
    np.testing.assert_allclose(
        sides.documents(texts, batch_size=2), decoder.encode_document(texts, task=task), atol=1e-6
    )
    for text in texts:
        np.testing.assert_allclose(sides.query(text), decoder.encode_query([text], task=task)[0], atol=1e-6)


def test_mini_by_name_is_the_loaded_mini(mini: Any, texts: list[str]) -> None:
    named = TaskEmbedder("mini", task="code2code", device="cpu")
    np.testing.assert_allclose(
        named.documents(texts, batch_size=4), mini.encode_document(texts, task="code2code"), atol=1e-6
    )
    np.testing.assert_allclose(
        named.query(texts[0]), mini.encode_query([texts[0]], task="code2code")[0], atol=1e-6
    )


def test_a_text_is_not_touched(decoder: Any, texts: list[str]) -> None:
    sides = TaskEmbedder(decoder)
    for change in (str.strip, lambda text: text.replace("\n", " ")):
        changed = sides.documents([change(texts[0])], batch_size=1)
        assert np.abs(np.subtract(changed, sides.documents([texts[0]], batch_size=1))).max() > 1e-3


def test_a_matryoshka_size_is_of_length_one_on_both_sides(decoder: Any, texts: list[str]) -> None:
    sides = TaskEmbedder(decoder, dims=32)
    for vector in [sides.query(texts[0]), *sides.documents(texts, batch_size=4)]:
        assert len(vector) == 32
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    whole = decoder.encode_query([texts[0]], task="nl2code")[0][:32]
    np.testing.assert_allclose(sides.query(texts[0]), whole / np.linalg.norm(whole), atol=1e-6)
    assert decoder.truncate_dim is None  # the model is somebody else's


def test_a_loaded_model_keeps_the_size_it_was_asked_for(decoder: Any) -> None:
    smaller = copy.copy(decoder)
    smaller.truncate_dim = 32
    assert TaskEmbedder(smaller).dims == 32
    assert TaskEmbedder(smaller, dims=64).dims == 64


def test_documents_come_back_in_order_and_the_bar_counts_them(
    decoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[Any] = []

    class Bar:
        def __init__(self, **options: Any) -> None:
            self.options, self.steps = options, list[int]()
            bars.append(self)

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_: Any) -> None: ...

        def update(self, step: int) -> None:
            self.steps.append(step)

    monkeypatch.setattr(module, "tqdm", Bar)
    texts = [f"value_{number} = {'x' * (number % 7)}{number}" for number in range(40)]
    found = TaskEmbedder(decoder).documents(texts, batch_size=1, progress=True)
    np.testing.assert_allclose(found, decoder.encode_document(texts, task="nl2code"), atol=1e-6)
    assert bars[0].steps == [16, 16, 8]
    assert (bars[0].options["total"], bars[0].options["disable"]) == (40, False)


def test_threads_over_one_model_get_the_vectors_of_one_thread(decoder: Any, texts: list[str]) -> None:
    both = [TaskEmbedder(decoder, task="nl2code"), TaskEmbedder(decoder, task="qa")]
    mixed = [text * size for size in (1, 60) for text in texts]
    wanted = [one.documents(mixed, batch_size=2) for one in both]
    found: dict[int, Any] = {}

    def embed(number: int) -> None:
        found[number] = [both[number % 2].documents(mixed, batch_size=2) for _ in range(4)]

    threads = [threading.Thread(target=embed, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(6):
        for vectors in found[number]:
            np.testing.assert_allclose(vectors, wanted[number % 2], atol=1e-6)


def test_a_pickled_named_model_is_its_name(mini: Any, texts: list[str]) -> None:
    packed = pickle.dumps(TaskEmbedder("mini", task="qa", dims=128, device="cpu"))
    assert len(packed) < 1000
    again = pickle.loads(packed)
    wanted = mini.encode_query([texts[1]], task="qa", truncate_dim=128)[0]
    np.testing.assert_allclose(again.query(texts[1]), wanted, atol=1e-6)


def test_a_pickled_loaded_model_has_its_weights(decoder: Any, texts: list[str]) -> None:
    again = pickle.loads(pickle.dumps(TaskEmbedder(decoder, task="qa")))
    np.testing.assert_allclose(
        again.query(texts[1]), decoder.encode_query([texts[1]], task="qa")[0], atol=1e-6
    )


def test_an_unknown_task_is_refused_with_the_list(decoder: Any) -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'nl2code'\? The tasks are nl2code, qa, code2code"):
        TaskEmbedder(decoder, task="nl2cod")


def test_an_empty_document_is_named_by_its_place_before_anything_is_embedded(decoder: Any) -> None:
    with pytest.raises(ValueError, match=r"text 21 of 21 is empty, as an __init__\.py often is"):
        TaskEmbedder(decoder).documents(["x = 1"] * 20 + [" \n"], batch_size=1)
    with pytest.raises(ValueError, match="text 1 of 1 is empty"):
        TaskEmbedder(decoder).query("")
    with pytest.raises(ValueError, match="text 2 of 2 is int, not a string"):
        TaskEmbedder(decoder).documents(["x", 1], batch_size=2)  # type: ignore[list-item]


def test_half_a_surrogate_pair_is_named_by_its_place_before_a_tokenizer_meets_it(decoder: Any) -> None:
    sentence = "text 2 of 2 has half a surrogate pair at character 5, which no tokenizer takes"
    with pytest.raises(ValueError, match=sentence):
        TaskEmbedder(decoder).documents(["x = 1", "# é \udce9"], batch_size=2)


def test_what_cannot_be_used_is_refused_in_a_sentence(decoder: Any, texts: list[str]) -> None:
    with pytest.raises(ValueError, match="a SentenceTransformer has no tasks"):
        TaskEmbedder(SentenceTransformer(str(MINI_FOLDER), device="cpu"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"loaded already, on cpu: move it with model\.to\('cuda'\)"):
        TaskEmbedder(decoder, device="cuda")
    with pytest.raises(ValueError, match=r"embedding dim 48 is not among the trained dims \(64, 32\)"):
        TaskEmbedder(decoder, dims=48)
    with pytest.raises(ValueError, match="a batch of 0 texts cannot be embedded"):
        TaskEmbedder(decoder).documents(texts, batch_size=0)
    with pytest.raises(ValueError, match="no/such/folder"):
        TaskEmbedder("no/such/folder")
