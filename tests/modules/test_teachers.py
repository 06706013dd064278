"""A teacher's vectors for the texts of a run."""

from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from codequarry.modules.backbone import EMBEDDED_BASE
from codequarry.modules.teachers import vectors_of

TEXTS = ["parse a date", "def parse(s):\n    return s", "a" * 3000]


def test_vectors_are_the_teachers_own_of_the_bare_text(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path))
    found = vectors_of(EMBEDDED_BASE, TEXTS, "cpu").of(TEXTS)
    expected = SentenceTransformer(str(minilm), device="cpu").encode(TEXTS, normalize_embeddings=True)
    cosines = (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1)
    assert cosines.min() > 0.9995, "bf16, where the processor has it, costs up to 4e-5"
    parts = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")}
    again = vectors_of(EMBEDDED_BASE, TEXTS[:2], "cpu").of(TEXTS[:2])
    assert np.array_equal(again, found[:2])
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")} == parts, "computed again"


def test_a_teacher_that_is_nowhere_is_named() -> None:
    with pytest.raises(ValueError, match="no/such-teacher"):
        vectors_of("no/such-teacher", TEXTS, "cpu")
