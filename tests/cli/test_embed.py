"""`codequarry embed`: what it reads."""

import gzip
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from codequarry.__main__ import main
from codequarry.cli import embed
from codequarry.common.errors import UserError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ROWS = [{"body": "x = 1", "id": 1}, {"body": "y = 2", "id": None}]


def arguments(source: Any, **more: Any) -> Any:
    given = {"column": "body", "keep": ["id"], "task": "nl2code", "include": [], "exclude": []}
    return SimpleNamespace(input=str(source), list_skipped=False, **given | more)


def written(folder: Path, kind: str) -> Path:
    path = folder / f"rows.{kind}"
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    if kind == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    else:
        path.write_bytes(gzip.compress(lines) if kind == "jsonl.gz" else lines)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet", "stdin"])
def test_every_format_gives_the_same_records(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source: Any = written(tmp_path, "jsonl" if kind == "stdin" else kind)
    if kind == "stdin":
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(source.read_bytes())))
        source = "-"
    found = list(embed._records(arguments(source)))
    assert [(record.text, record.columns) for record in found] == [
        ("x = 1", {"id": 1}),
        ("y = 2", {"id": None}),
    ]


def test_a_folder_gives_its_chunks_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def f(x):\n    return x\n\n\ndef g(y):\n    return y\n")
    found = list(embed._records(arguments(tmp_path)))
    assert {(record.columns["path"], record.columns["title"]) for record in found} == {
        ("a.py", "f"),
        ("a.py", "g"),
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"other": 1}', "record 1 has no text in 'body'"),
        ("[1]", "record 1 has no text in 'body'"),
        ("{", "line 1 is not JSON"),
        ('{"body": "x", "id": 1.5}', "holds strings, or whole numbers"),
        ('{"body": "x", "id": 1}\n{"body": "y", "id": "a"}', "record 2: id is 'a'"),
    ],
)
def test_a_bad_record_is_named(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(line)
    with pytest.raises(UserError, match=message):
        list(embed._records(arguments(tmp_path / "rows.jsonl")))


def test_other_inputs_and_reserved_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    for source, message in ((tmp_path / "no.jsonl", "is not here"), (tmp_path / "a.txt", "of no kind")):
        with pytest.raises(UserError, match=message):
            embed._records(arguments(source))
    with pytest.raises(UserError, match="a column of that name"):
        list(embed._records(arguments(written(tmp_path, "jsonl"), keep=["vector"])))


def test_the_command_writes_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["embed", str(written(tmp_path, "jsonl")), "--column", "body", "--dims", "32"]
    for line in ("2 texts embedded, 0 were there", "0 texts embedded, 2 were there"):
        main([*words, "--out", str(tmp_path / "out")])
        assert line in capsys.readouterr().out
