"""Vectors in files: nothing twice, nothing lost, whatever ends a run."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import codequarry
from codequarry.common.errors import UserError
from codequarry.inference.bulk import SETTINGS, Record, Settings, embed_records
from codequarry.inference.encoder import Encoder
from codequarry.inference.open import open_model

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

RECORDS = [
    Record(f"def f{number}(x):\n    return x + {number}", {"id": f"n{number}"}) for number in range(11)
]
RECORDS[4] = Record("\x00", {"id": None})


@pytest.fixture(scope="module")
def model() -> Any:
    return open_model("mini", dims=64)


@pytest.fixture(scope="module")
def settings(model: Any) -> Settings:
    prompt = model.prompt_family.prefix("nl2code", "document")
    return Settings(model.fingerprint, prompt, "document", 64, "fp32", "float32", 4)


def read(out: Path) -> Any:
    """All rows, in the order of the files."""
    return pyarrow.concat_tables(parquet.read_table(file) for file in sorted(out.glob("part-*")))


def test_each_text_has_a_row_with_its_vector_and_columns(
    model: Any, settings: Settings, tmp_path: Path
) -> None:
    done = embed_records(iter(RECORDS), model, tmp_path / "out", settings)
    assert (done.written, done.kept, done.empty) == (11, 0, 1)
    table = read(tmp_path / "out")
    assert table["row"].to_pylist() == list(range(11))
    assert table["id"].to_pylist() == [record.columns["id"] for record in RECORDS]
    vectors = table["vector"].to_pylist()
    assert vectors.pop(4) is None
    texts = [record.text for record in RECORDS if record.text != "\x00"]
    expected = Encoder(model).encode(texts, settings.prompt, side="document", dims=64)
    assert np.abs(np.array(vectors, dtype=np.float32) - expected).max() < 1e-6
    metadata = json.loads(table.schema.metadata[b"codequarry"])
    assert {name: metadata[name] for name in asdict(settings)} == asdict(settings)


def test_a_run_that_failed_midway_resumes_and_a_changed_input_costs_what_changed(
    model: Any, settings: Settings, tmp_path: Path
) -> None:
    def failing() -> Iterator[Record]:
        yield from RECORDS[:9]
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError):
        embed_records(failing(), model, tmp_path / "out", settings)
    done = embed_records(RECORDS, model, tmp_path / "out", settings)
    assert (done.written, done.kept, done.empty) == (3, 8, 1)
    changed = [*RECORDS[:5], Record("other", {"id": "n5"}), *RECORDS[6:]]
    assert embed_records(changed, model, tmp_path / "out", settings).written == 4
    assert embed_records(changed[:4], model, tmp_path / "out", settings).kept == 4
    assert [file.name for file in sorted((tmp_path / "out").glob("part*"))] == ["part-00000.parquet"]
    (tmp_path / "out" / "part-00000.parquet").write_bytes(b"half a file")
    assert embed_records(changed[:4], model, tmp_path / "out", settings).written == 4


def test_other_settings_and_a_folder_of_something_else_are_refused(
    model: Any, settings: Settings, tmp_path: Path
) -> None:
    embed_records(RECORDS[:1], model, tmp_path / "out", settings)
    with pytest.raises(UserError, match="other settings \\(prompt differ"):
        embed_records(RECORDS[:1], model, tmp_path / "out", replace(settings, prompt="x: "))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"no embeddings\.json"):
        embed_records(RECORDS[:1], model, tmp_path / "full", settings)


def test_half_precision_is_stored_as_asked_for(model: Any, settings: Settings, tmp_path: Path) -> None:
    embed_records(RECORDS[:2], model, tmp_path / "out", replace(settings, stored="float16"))
    assert read(tmp_path / "out").schema.field("vector").type == pyarrow.list_(pyarrow.float16(), 64)


def test_a_killed_command_is_repeated_to_the_same_files(tmp_path: Path) -> None:
    source = tmp_path / "texts.jsonl"
    lines = [
        json.dumps({"text": f"def f(x):\n    return x + {number}\n" * 8, "n": number}) for number in range(60)
    ]
    source.write_text("\n".join(lines))
    out, whole = tmp_path / "out", tmp_path / "whole"
    words = [sys.executable, "-m", "codequarry", "embed", str(source), "--keep", "n", "--shard", "2", "--out"]
    root = {"PYTHONPATH": str(Path(codequarry.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen([*words, str(out)], env=root)
    while len(list(out.glob("part-*"))) < 3 and running.poll() is None:
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    running.wait()
    before = len(list(out.glob("part-*")))
    assert 3 <= before < 30, "killed midway"
    for folder in (out, whole):
        subprocess.run([*words, str(folder)], env=root, check=True, capture_output=True)
    assert read(out).equals(read(whole), check_metadata=True)
    assert sorted(file.name for file in out.iterdir()) == sorted(file.name for file in whole.iterdir())
    assert (out / SETTINGS).is_file()
    assert read(out)["n"].to_pylist() == list(range(60))
