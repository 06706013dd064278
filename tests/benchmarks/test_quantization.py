import json
from pathlib import Path

import numpy as np
import pytest

from codequarry.benchmarks.quantization import (
    RESCORED,
    CompressedDocuments,
    bits_and_back,
    int8_and_back,
    ranges_of,
    write_ranges,
)


def unit(count: int, seed: int, dims: int = 48) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    vectors = np.random.default_rng(seed).normal(size=(count, dims)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


DOCUMENTS, QUERIES = unit(200, 1), unit(20, 2)
NAMES = [f"d{n}" for n in range(200)]


def test_int8_is_off_by_half_a_step_of_its_range_at_most() -> None:
    ranges = ranges_of(DOCUMENTS)
    steps = (ranges[1] - ranges[0]) / 255
    assert (np.abs(int8_and_back(DOCUMENTS, ranges) - DOCUMENTS) <= steps / 2 + 1e-6).all()


def test_int8_finds_almost_what_float32_finds() -> None:
    index = CompressedDocuments("int8", ranges_of(DOCUMENTS))
    index.add_documents(DOCUMENTS, NAMES)
    _, positions = index.search(QUERIES, 10)
    exact = np.argsort(-(QUERIES @ DOCUMENTS.T), axis=1)[:, :10]
    shared = [len(set(found) & set(wanted)) for found, wanted in zip(positions, exact, strict=True)]
    assert np.mean(shared) > 9.5


def test_binary_scores_the_documents_nearest_in_hamming_distance_by_the_query_itself() -> None:
    index = CompressedDocuments("binary")
    index.add_documents(DOCUMENTS, NAMES)
    values, positions = index.search(QUERIES, 10)
    for number, query in enumerate(QUERIES):
        hamming = ((DOCUMENTS > 0) != (query > 0)).sum(axis=1)
        nearest = np.argsort(hamming, kind="stable")[:RESCORED]
        scores = np.where(DOCUMENTS[nearest] > 0, 1, -1) @ query / np.sqrt(48)
        np.testing.assert_allclose(values[number], np.sort(scores)[::-1][:10], atol=1e-6)
        assert set(positions[number]) <= set(nearest)


def test_bits_keep_the_signs_and_unit_length() -> None:
    signs = bits_and_back(DOCUMENTS)
    np.testing.assert_array_equal(signs > 0, DOCUMENTS > 0)
    np.testing.assert_allclose(np.linalg.norm(signs, axis=1), 1, atol=1e-6)


def test_positions_count_in_a_querys_own_list_of_candidates() -> None:
    index = CompressedDocuments("int8", ranges_of(DOCUMENTS))
    index.add_documents(DOCUMENTS, NAMES)
    own = {"q0": ["d7", "d3", "d9"]}
    values, positions = index.search(QUERIES[:1], 2, None, own, {0: "q0"})
    scores = DOCUMENTS[[7, 3, 9]] @ QUERIES[0]
    assert positions[0] == np.argsort(-scores)[:2].tolist()
    np.testing.assert_allclose(values[0], np.sort(scores)[::-1][:2], atol=0.02)


def test_stored_ranges_say_what_they_were_calibrated_on(tmp_path: Path) -> None:
    write_ranges(tmp_path / "new/int8_ranges.json", ranges_of(DOCUMENTS), len(DOCUMENTS))
    record = json.loads((tmp_path / "new/int8_ranges.json").read_text())
    np.testing.assert_allclose([record["min"], record["max"]], ranges_of(DOCUMENTS), atol=1e-6)
    assert (record["dims"], record["texts"]) == (48, 200)
    assert "documents" in record["calibrated_on"]


def test_int8_without_ranges_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="int8 needs ranges"):
        CompressedDocuments("int8")
