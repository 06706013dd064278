"""A teacher's vectors for the texts of a run."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sentence_transformers import SentenceTransformer

import codequarry
from codequarry.common.files import text_sha256
from codequarry.modules.backbone import EMBEDDED_BASE
from codequarry.modules.tasks import CODE
from codequarry.training import distillation
from codequarry.training.distillation import (
    TeacherVectors,
    prompts_line,
    stored_vectors,
    vectors_of,
    write_teacher_vectors,
)

TEXTS = ["parse a date", "def parse(s):\n    return s", "a" * 3000]


def drawn(*texts: str, task: str = "nl2code") -> dict[str, dict[str, list[str]]]:
    return {f"some source:{task}": {"query": list(texts), "document": list(texts), "negative_1": [*texts]}}


def test_vectors_of_a_teacher_without_prompts_are_those_of_the_bare_text(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path))
    found = vectors_of(EMBEDDED_BASE, drawn(*TEXTS), "cpu").of(TEXTS)
    expected = SentenceTransformer(str(minilm), device="cpu").encode(TEXTS, normalize_embeddings=True)
    cosines = (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1)
    assert cosines.min() > 0.9995, "bf16, where the processor has it, costs up to 4e-5"
    parts = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")}
    again = vectors_of(EMBEDDED_BASE, drawn(*TEXTS[:2]), "cpu").of(TEXTS[:2])
    assert np.array_equal(again, found[:2])
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")} == parts, "computed again"


def test_texts_of_all_lengths_get_their_own_vectors_without_padding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path))
    monkeypatch.setattr(distillation, "_TOKENS", 40)  # so that a text is alone, or with a few others
    texts = [" ".join(["parse", "a", "date"] * count) for count in (1, 7, 3, 30, 2, 2, 5)]
    teacher = codequarry.load("mini", device="cpu", runtime="stock")
    expected = teacher.encode(texts, prompt="q: ")
    folder = stored_vectors(teacher, texts, "cpu", prompt="q: ")
    stored_vectors(teacher, [*texts, "one more"], "cpu", prompt="q: ")
    assert teacher[0].model.config._attn_implementation == "packed"
    found = TeacherVectors(folder).of(texts, "q: ")
    assert (found * expected).sum(axis=1).min() > 0.9995, "bf16, where the processor has it, costs up to 4e-5"
    assert len(TeacherVectors(folder)) == len({*texts}) + 1


def test_a_teacher_that_is_nowhere_is_named() -> None:
    with pytest.raises(ValueError, match="no/such-teacher"):
        vectors_of("no/such-teacher", drawn(*TEXTS), "cpu")


@pytest.mark.parametrize(
    ("prompts", "task", "query", "document"),
    [
        (
            {"query": "search_query: ", "document": "search_document: "},
            "qa",
            "search_query: ",
            "search_document: ",
        ),
        ({"query": "Q: ", "passage": "P: "}, "nl2code", "Q: ", "P: "),
        ({"query": "only queries: ", "document": ""}, "nl2code", "only queries: ", ""),
        ({**CODE.prompts()}, "code2nl", CODE.prompts()["code2nl_query"], CODE.prompts()["code2nl_document"]),
        ({**CODE.prompts()}, "nl2code", CODE.prompts()["nl2code_query"], CODE.prompts()["nl2code_document"]),
    ],
)
def test_a_teacher_is_asked_with_its_own_prompts(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prompts: dict[str, str], task: str,
    query: str, document: str,
) -> None:  # fmt: skip
    """The oracle: sentence-transformers with the prompt written before the text."""
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "teacher"
    shutil.copytree(minilm, folder)
    file = folder / "config_sentence_transformers.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"prompts": prompts}))
    texts = TEXTS[:2]
    teacher = vectors_of(str(folder), drawn(*texts, task=task), "cpu")
    stock = SentenceTransformer(str(minilm), device="cpu")
    again = pickle.loads(pickle.dumps(teacher))
    for side, prompt in (("query", query), ("document", document)):
        expected = stock.encode([prompt + text for text in texts], prompt="", normalize_embeddings=True)
        for copy in (teacher, again):
            found = copy.of(texts, copy.prompts[f"{task}_{side}"])
            assert ((found * expected).sum(axis=1) / np.linalg.norm(found, axis=1)).min() > 0.9995, side
    said = prompts_line("it", teacher.prompts)
    assert "is asked with its own prompts" in said
    assert len(prompts) > 2 or all(repr(prompt) in said for prompt in (query, document) if prompt)
    assert prompts_line("it", dict.fromkeys(teacher.prompts, "")).startswith("teacher it has no prompts")


STORED_TEXTS = [f"text {n} \r\n ü \ud800" for n in range(300)]


def vector(text: str) -> npt.NDArray[np.float32]:
    """A unit vector that only this text has."""
    seed = int.from_bytes(text_sha256(text)[:8], "little")
    numbers = np.random.default_rng(seed).normal(size=24).astype(np.float32)
    return numbers / np.linalg.norm(numbers)


class Teacher:
    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.asked.append(list(texts))
        return np.stack([vector(text) for text in texts])


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distillation, "_PART", 64)


def test_each_text_gets_its_own_vector_back_to_half_precision(tmp_path: Path) -> None:
    write_teacher_vectors(tmp_path, STORED_TEXTS, Teacher(), "teacher")
    stored = TeacherVectors(tmp_path)
    assert (len(stored), stored.dim, stored.fingerprint) == (300, 24, "teacher")
    asked = [STORED_TEXTS[n] for n in (7, 299, 0, 7, 123)]
    found = stored.of(asked)
    assert found.dtype == np.float32
    wanted = np.stack([vector(text) for text in asked])
    assert np.array_equal(found, wanted.astype(np.float16).astype(np.float32))
    cosines = (found * wanted).sum(1) / np.linalg.norm(found, axis=1)
    assert np.abs(1 - cosines).max() < 1e-6


def test_the_files_can_be_read_by_any_reader_of_parquet(tmp_path: Path) -> None:
    from pyarrow import parquet

    write_teacher_vectors(tmp_path, STORED_TEXTS[:3], Teacher(), "teacher")
    (file,) = tmp_path.glob("*.parquet")
    rows = parquet.read_table(file).to_pylist()
    assert {row["sha256"] for row in rows} == {text_sha256(text) for text in STORED_TEXTS[:3]}
    of = {text_sha256(text): vector(text) for text in STORED_TEXTS[:3]}
    assert all(np.allclose(np.array(row["vector"]), of[row["sha256"]], atol=1e-3) for row in rows)


def test_only_what_is_missing_is_computed_each_text_once_the_longest_first(tmp_path: Path) -> None:
    teacher = Teacher()
    write_teacher_vectors(tmp_path, STORED_TEXTS[:100] * 2, teacher, "teacher")
    assert [len(part) for part in teacher.asked] == [64, 36]
    lengths = [len(text) for part in teacher.asked for text in part]
    assert lengths == sorted(lengths, reverse=True)
    write_teacher_vectors(tmp_path, STORED_TEXTS[:130], teacher, "teacher")
    assert set(teacher.asked[2]) == set(STORED_TEXTS[100:130])
    write_teacher_vectors(tmp_path, STORED_TEXTS[:130], teacher, "teacher")
    assert len(teacher.asked) == 3
    assert len(TeacherVectors(tmp_path)) == 130


def test_the_same_texts_give_the_same_bytes(tmp_path: Path) -> None:
    for name, texts in (("one", STORED_TEXTS), ("two", STORED_TEXTS[::-1])):
        write_teacher_vectors(tmp_path / name, texts, Teacher(), "teacher")
    one, two = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("one", "two")
    )
    assert one == two


def test_a_run_that_fails_keeps_its_whole_parts_and_goes_on_from_there(tmp_path: Path) -> None:
    teacher = Teacher()

    def fails_at_the_third(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        if len(teacher.asked) == 2:
            raise KeyboardInterrupt
        return teacher(texts)

    with pytest.raises(KeyboardInterrupt):
        write_teacher_vectors(tmp_path, STORED_TEXTS, fails_at_the_third, "teacher")
    write_teacher_vectors(tmp_path, STORED_TEXTS, teacher, "teacher")
    assert [len(part) for part in teacher.asked] == [64, 64, 64, 64, 44]
    assert len(TeacherVectors(tmp_path)) == 300


WRITER = """
import sys
import numpy as np
from pathlib import Path
from codequarry.training import distillation
distillation._PART = 3
embed = lambda texts: np.full((len(texts), 8), len(texts[0]), dtype=np.float32)
texts = [f"text {n}" for n in range(int(sys.argv[2]))]
distillation.write_teacher_vectors(Path(sys.argv[1]), texts, embed, "teacher", progress=False)
"""


def test_a_writer_killed_at_a_bad_moment_leaves_whole_files(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), "20000"], env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("*.parquet"))) < 20:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stored = TeacherVectors(tmp_path)
    assert len(stored) >= 60
    assert len(stored) % 3 == 0
    texts = [f"text {n}" for n in range(100)]
    write_teacher_vectors(tmp_path, texts, lambda some: np.full((len(some), 8), 7.0, np.float32), "teacher")
    assert TeacherVectors(tmp_path).of(texts).shape == (100, 8)


def test_missing_texts_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    write_teacher_vectors(tmp_path, STORED_TEXTS[:10], Teacher(), "teacher")
    with pytest.raises(ValueError, match=r"2 of 12 texts have no vector in .*, the first is 'text 10 "):
        TeacherVectors(tmp_path).of(STORED_TEXTS[:12])


def test_another_teachers_vectors_are_refused_before_the_teacher_is_asked(tmp_path: Path) -> None:
    write_teacher_vectors(tmp_path, STORED_TEXTS[:10], Teacher(), "this one")
    other = Teacher()
    with pytest.raises(ValueError, match="vectors of teacher this one, not of another"):
        write_teacher_vectors(tmp_path, STORED_TEXTS, other, "another")
    assert not other.asked


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros((3, 24)), r"shape \(3, 24\) for 10 texts"),
        (np.zeros((10, 12)), r"shape \(10, 12\) for 10 texts of dim 24"),
        (np.full((10, 24), np.nan), "not finite"),
        (np.full((10, 24), 70_000.0), "past 65,504"),
    ],
)
def test_what_is_no_vector_a_text_is_refused_and_nothing_is_kept(
    answer: npt.NDArray[np.float64], message: str, tmp_path: Path
) -> None:
    write_teacher_vectors(tmp_path, STORED_TEXTS[:10], Teacher(), "teacher")
    with pytest.raises(ValueError, match=message):
        write_teacher_vectors(tmp_path, STORED_TEXTS[:20], lambda _: answer.astype(np.float32), "teacher")
    assert len(TeacherVectors(tmp_path)) == 10


def test_a_folder_without_vectors_and_a_damaged_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no teacher's vectors"):
        TeacherVectors(tmp_path)
    write_teacher_vectors(tmp_path, STORED_TEXTS, Teacher(), "teacher")
    file = sorted(tmp_path.glob("*.parquet"))[0]
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=rf"{file.name} is damaged"):
        TeacherVectors(tmp_path)
    file.unlink()
    teacher = Teacher()
    write_teacher_vectors(tmp_path, STORED_TEXTS, teacher, "teacher")
    assert sum(map(len, teacher.asked)) in (44, 64), "only that file's texts"


def test_a_worker_reads_the_files_again(tmp_path: Path) -> None:
    write_teacher_vectors(tmp_path, STORED_TEXTS, Teacher(), "teacher")
    stored = TeacherVectors(tmp_path)
    sent = pickle.dumps(stored)
    assert len(sent) < 500
    assert np.array_equal(pickle.loads(sent).of(STORED_TEXTS), stored.of(STORED_TEXTS))


def test_a_missing_pyarrow_names_its_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"pip install 'codequarry\[train\]'"):
        write_teacher_vectors(tmp_path, STORED_TEXTS, Teacher(), "teacher")
