from pathlib import Path

import numpy as np
import pytest

from codequarry.inference.encoder import Space
from codequarry.search import vector_store
from codequarry.search.vector_store import NAME, open_store

SPACE = Space("model", "document: ", 8, "as loaded")


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=8).astype(np.float32)
    return vector / np.linalg.norm(vector)


def test_a_vector_comes_back_as_it_was_and_only_in_its_space(tmp_path: Path) -> None:
    vectors = {bytes([n]) * 32: unit(n) for n in range(3)}
    with open_store(tmp_path, SPACE) as store:
        store.add(vectors)
    with open_store(tmp_path, SPACE) as store:
        assert store.hashes({*vectors, b"x"}) == set(vectors)
        found = store.vectors([*vectors, b"x"])
        assert found.keys() == vectors.keys()
        for name, vector in vectors.items():
            np.testing.assert_array_equal(found[name], vector)
    for other in (
        Space("another", "document: ", 8, "as loaded"),
        Space("model", "", 8, "as loaded"),
        Space("model", "document: ", 8, "bf16"),
    ):
        with open_store(tmp_path, other) as store:
            assert store.hashes(vectors) == set()
            assert store.vectors(vectors) == {}


def test_more_hashes_than_a_statement_takes_are_asked_for(tmp_path: Path) -> None:
    vectors = {n.to_bytes(32, "big"): unit(n) for n in range(1203)}
    with open_store(tmp_path, SPACE) as store:
        store.add(vectors)
        assert store.hashes(vectors) == set(vectors)
        assert len(store.vectors(vectors)) == 1203


def test_past_its_limit_the_store_loses_what_was_not_read_for_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = 20_000
    monkeypatch.setattr(vector_store, "_today", lambda: day)
    old, new = ({(base + n).to_bytes(32, "big"): unit(n) for n in range(400)} for base in (0, 1000))
    with open_store(tmp_path, SPACE) as store:
        store.add(old)
        read = set(list(old)[:100])
        day += 1
        store.vectors(read)
        limit = (tmp_path / NAME).stat().st_size
        monkeypatch.setattr(vector_store, "LARGEST", limit)
        store.add(new)
        left = store.hashes({*old, *new})
    assert set(new) <= left
    assert read <= left
    assert len(left & set(old)) == 400 - 200  # a quarter of the 800 went, none of them read since


def test_the_file_does_not_grow_past_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_store, "LARGEST", 200_000)
    with open_store(tmp_path, SPACE) as store:
        for start in range(0, 10_000, 500):
            store.add({(start + n).to_bytes(32, "big"): unit(n) for n in range(500)})
    assert (tmp_path / NAME).stat().st_size < 300_000
