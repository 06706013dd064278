import gzip
import json
import os
import time
from pathlib import Path

import pytest

from codequarry.data import pair_files
from codequarry.data.pair import Pair
from codequarry.data.pair_files import (
    PairError,
    fingerprint,
    fingerprint_folders,
    pair_folders,
    read_pair_folders,
    read_pairs,
    write_pairs,
)

PAIRS = [
    Pair("nl2code", "größte Zahl 🦀", "max(a)\n", "here", "python", ("min(a)",)),
    Pair("qa", "why\r\nso?", "line\u2028separator", "here", "text"),
]

LINE = json.dumps(PAIRS[0].to_record()).encode()

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")


@pytest.fixture(autouse=True)
def _pyarrow_or_not(request):
    if "parquet" in request.node.name:
        pytest.importorskip("pyarrow")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pairs_come_back_as_they_were_written(tmp_path, suffix):
    write_pairs(tmp_path / f"pairs{suffix}", PAIRS)
    read = read_pairs(tmp_path)
    assert read.pairs == PAIRS
    assert (read.skipped, read.files) == (0, (tmp_path / f"pairs{suffix}",))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_pairs_give_the_same_bytes_at_any_time(tmp_path, suffix, monkeypatch):
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    write_pairs(first, PAIRS)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    write_pairs(second, PAIRS)
    assert first.read_bytes() == second.read_bytes()


BAD_LINES = {
    "not JSON": b'{"task": ',
    "not UTF-8": b'{"task": "\xff"}',
    "lacks document": b'{"task": "qa", "query": "q", "source": "s", "language": "l"}',
    "'solution' is not a field": LINE.replace(b'"document"', b'"solution"'),
    "expected an object": b"[1, 2]",
    "blank": LINE.replace(b"max(a)\\n", b" "),
    "Did you mean 'nl2code'": LINE.replace(b"nl2code", b"nl2coed"),
    "nested too deeply|recursion": b"[" * 200_000,
}


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
@pytest.mark.parametrize("reason", BAD_LINES)
def test_a_malformed_line_is_named_with_file_and_line_and_can_be_left_out(tmp_path, reason, suffix):
    path = tmp_path / f"pairs{suffix}"
    content = LINE + b"\n\n" + BAD_LINES[reason] + b"\n" + LINE
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    with pytest.raises(PairError, match=f"(?s)pairs{suffix}:3: .*({reason}).*--skip-bad"):
        read_pairs(tmp_path)
    read = read_pairs(tmp_path, skip_bad=True)
    assert (len(read.pairs), read.skipped) == (2, 1)


def test_a_gzip_file_that_was_cut_off_is_noticed_and_its_whole_lines_are_kept_on_demand(tmp_path):
    path = tmp_path / "pairs.jsonl.gz"
    noise = [Pair("qa", f"question {os.urandom(40).hex()}", "answer", "here", "text") for _ in range(2_000)]
    write_pairs(path, noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PairError, match=r"pairs.jsonl.gz:\d+: The file is damaged or cut off"):
        read_pairs(path)
    read = read_pairs(path, skip_bad=True)
    assert read.skipped == 1
    assert read.pairs == noise[: len(read.pairs)]
    assert len(read.pairs) > 500


def test_what_only_claims_to_be_gzip_is_damaged(tmp_path):
    (tmp_path / "pairs.jsonl.gz").write_bytes(LINE)
    with pytest.raises(PairError, match=r"gz:1: The file is damaged"):
        read_pairs(tmp_path)


def test_a_bad_parquet_row_is_named_and_a_null_is_an_absent_field(tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [pair.to_record() | {"negatives": None} for pair in PAIRS] + [
        PAIRS[0].to_record() | {"query": None}
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    with pytest.raises(PairError, match=r"pairs.parquet:3: The record lacks query"):
        read_pairs(tmp_path)
    assert read_pairs(tmp_path, skip_bad=True).pairs[1] == PAIRS[1]


def test_what_only_claims_to_be_parquet_is_damaged(tmp_path):
    (tmp_path / "pairs.parquet").write_bytes(LINE)
    with pytest.raises(PairError, match=r"parquet:1: The file is damaged or no Parquet"):
        read_pairs(tmp_path)


def test_a_byte_order_mark_is_no_reason_to_stop(tmp_path):
    (tmp_path / "pairs.jsonl").write_bytes(b"\xef\xbb\xbf" + LINE)
    assert read_pairs(tmp_path).pairs == PAIRS[:1]


def test_folders_inside_are_not_read_because_one_of_them_holds_what_is_held_out(tmp_path):
    write_pairs(tmp_path / "train" / "pairs.jsonl", PAIRS)
    write_pairs(tmp_path / "heldout" / "pairs.jsonl", PAIRS)
    with pytest.raises(PairError, match=r"looked for .*jsonl.gz.*folders heldout, train"):
        read_pairs(tmp_path)


def test_nothing_to_read_is_said_in_a_sentence(tmp_path):
    (tmp_path / "notes.txt").write_text("no pair")
    (tmp_path / "empty.jsonl").touch()
    for path, said in (
        (tmp_path / "absent", "is not there"),
        (tmp_path / "notes.txt", "expected .*parquet"),
        (tmp_path, "holds no pair"),
    ):
        with pytest.raises(PairError, match=said):
            read_pairs(path)


def test_a_kill_while_writing_leaves_the_old_file_and_nothing_that_is_read(tmp_path):
    path = tmp_path / "pairs.jsonl"
    write_pairs(path, PAIRS)

    def killed():
        yield PAIRS[0]
        beside = [file for file in tmp_path.iterdir() if file != path]
        assert len(beside) == 1
        assert read_pairs(tmp_path).files == (path,)  # as a reader would after kill -9 at this moment
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pairs(path, killed())
    assert read_pairs(tmp_path).pairs == PAIRS
    assert list(tmp_path.iterdir()) == [path]


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"pairs.csv .*jsonl"):
        write_pairs(tmp_path / "pairs.csv", PAIRS)


def test_the_fingerprint_follows_names_and_bytes_and_nothing_else(tmp_path):
    write_pairs(tmp_path / "a.jsonl", PAIRS)
    before = fingerprint(tmp_path)
    (tmp_path / "notes.txt").write_text("not data")
    os.utime(tmp_path / "a.jsonl", (1, 1))
    assert fingerprint(tmp_path) == before
    (tmp_path / "a.jsonl").rename(tmp_path / "b.jsonl")
    renamed = fingerprint(tmp_path)
    write_pairs(tmp_path / "b.jsonl", PAIRS[:1])
    assert len({before, renamed, fingerprint(tmp_path)}) == 3


def test_a_missing_pyarrow_names_its_install_command(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'codequarry\[train\]'"):
        write_pairs(tmp_path / "pairs.parquet", PAIRS)


def test_the_gathered_training_data_reads_in_seconds_without_a_bad_line():
    if not os.environ.get("CODEQUARRY_DATA"):
        pytest.skip("CODEQUARRY_DATA does not name the folder of gathered data")
    folder = Path(os.environ["CODEQUARRY_DATA"], "train")
    started = time.perf_counter()
    read = read_pairs(folder, progress=False)
    seconds = time.perf_counter() - started
    lines = sum(gzip.decompress(file.read_bytes()).count(b"\n") for file in folder.glob("*.jsonl.gz"))
    assert (len(read.pairs), read.skipped) == (lines, 0)
    assert seconds < 30, "273k pairs took 4 s on two idle cores"


def test_reading_can_be_watched(tmp_path, monkeypatch):
    seen = []

    class Bar:
        def __init__(self, total, **_):
            self.total, self.updates = total, []

        def __enter__(self):
            return self

        def __exit__(self, *_):
            seen.append((sum(self.updates), self.total))

        def update(self, n):
            self.updates.append(n)

    monkeypatch.setattr(pair_files, "tqdm", Bar)
    write_pairs(tmp_path / "a.jsonl", PAIRS * 3_000)
    write_pairs(tmp_path / "b.jsonl.gz", PAIRS * 3_000)
    read_pairs(tmp_path)
    assert seen == [(sum(file.stat().st_size for file in tmp_path.iterdir()),) * 2]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for place in ("b/train/pairs.jsonl", "a/train/pairs.jsonl.gz", "a/heldout/pairs.jsonl.gz", "own.jsonl",
                  ".hidden/pairs.jsonl", "b/heldout/deeper/pairs.jsonl"):  # fmt: skip
        write_pairs(tmp_path / place, [Pair("qa", f"query of {place}", "answer", "s", "text")])
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_subfolders_are_read_in_order_and_nothing_that_is_held_out(tree: Path) -> None:
    read = read_pair_folders(tree, subfolders=True)
    assert [pair.query.removeprefix("query of ") for pair in read.pairs] == [
        "own.jsonl", "a/train/pairs.jsonl.gz", "b/train/pairs.jsonl",
    ]  # fmt: skip
    assert len(read.files) == 3


def test_without_subfolders_only_the_folder_itself_counts(tree: Path) -> None:
    assert pair_folders(tree) == [tree]
    assert len(read_pair_folders(tree).pairs) == 1
    assert fingerprint_folders(tree) == fingerprint(tree)
    assert len(read_pair_folders(tree / "own.jsonl", subfolders=True).pairs) == 1


def test_the_fingerprint_changes_with_any_file_that_is_read_and_with_no_other(tree: Path) -> None:
    before = fingerprint_folders(tree, subfolders=True)
    write_pairs(tree / "a/heldout/pairs.jsonl.gz", [Pair("qa", "other", "answer", "s", "text")])
    assert fingerprint_folders(tree, subfolders=True) == before
    write_pairs(tree / "a/train/pairs.jsonl.gz", [Pair("qa", "other", "answer", "s", "text")])
    assert fingerprint_folders(tree, subfolders=True) != before


def test_a_tree_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PairError, match="holds no file of pairs"):
        read_pair_folders(tmp_path, subfolders=True)
