import json

import pytest

from codequarry.data.mining import output
from codequarry.data.mining.mine import mine
from codequarry.data.mining.output import check_out, summary_table, write_mined
from codequarry.data.pair_files import PairError, fingerprint, read_pairs


@pytest.fixture
def mined(tmp_path):
    root = tmp_path / "checkout"
    root.mkdir()
    for number in range(10):
        (root / f"part_{number}.py").write_text(
            f'def work_{number}(a):\n    """Works on case number {number}."""\n'
            f"    b{number} = a{number}({number})\n    return c{number} + b{number}\n"
        )
    (root / "picture.png").write_bytes(b"\0")
    return mine([root], progress=False)


def test_both_sides_come_back_and_the_counts_are_theirs(mined, tmp_path):
    out = tmp_path / "out"
    write_mined(out, mined)
    for side in ("train", "heldout"):
        for kind, pairs in mined.by_kind[side].items():
            assert not pairs or read_pairs(out / side / f"{kind}.jsonl.gz").pairs == pairs
    counts = json.loads((out / "mined.json").read_text())
    assert counts["sources"] == {"checkout": None}
    reason = "picture, archive or program"
    assert counts["files"] == {
        "read": 10,
        "skipped": {reason: 1},
        "left_out": [{"path": "picture.png", "reason": reason, "detail": ""}],
    }
    for side in ("train", "heldout"):
        assert sum(counts["pairs"][side].values()) == len(getattr(mined, side)) > 0
        assert sum(counts["languages"][side].values()) == len(getattr(mined, side))
        assert counts["fingerprints"][side] == fingerprint(out / side)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_the_same_pairs_give_the_same_bytes_and_no_path_of_this_machine(mined, tmp_path, form):
    one, two = tmp_path / "one", tmp_path / "two"
    write_mined(one, mined, form)
    write_mined(two, mined, form)
    places = sorted(place.relative_to(one) for place in one.rglob("*") if place.is_file())
    assert len(places) == 5
    for place in places:
        assert (one / place).read_bytes() == (two / place).read_bytes()
    assert read_pairs(one / "train").pairs
    assert str(tmp_path) not in (one / "mined.json").read_text()


@pytest.mark.parametrize("moment", [0, 1])
def test_a_kill_at_any_moment_leaves_no_summary_and_no_training_pairs_of_another_run(
    mined, tmp_path, monkeypatch, moment
):
    out = tmp_path / "out"
    write_mined(out, mined)
    written = []

    def write_or_die(path, pairs):
        if len(written) == moment:
            raise KeyboardInterrupt
        written.append(path)
        whole(path, pairs)

    whole = output.write_pairs
    monkeypatch.setattr(output, "write_pairs", write_or_die)
    with pytest.raises(KeyboardInterrupt):
        write_mined(out, mined)
    assert not (out / "mined.json").exists()
    with pytest.raises(PairError):
        read_pairs(out / "train")


def test_another_run_into_the_same_folder_leaves_nothing_of_the_first(mined, tmp_path):
    out = tmp_path / "out"
    write_mined(out, mined)
    write_mined(out, mined, "parquet")
    names = {place.name for place in out.rglob("*") if place.is_file()}
    assert names == {"docstring.parquet", "comment.parquet", "mined.json"}


def test_pairs_of_another_origin_are_neither_mixed_in_nor_removed(mined, tmp_path):
    other = tmp_path / "out" / "train" / "mine.jsonl"
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    with pytest.raises(ValueError, match="was not written by mining"):
        write_mined(tmp_path / "out", mined)
    assert other.read_text() == "{}"
    with pytest.raises(ValueError, match="is a file"):
        check_out(other)


def test_a_full_disk_is_a_sentence_and_leaves_nothing_half_written(mined, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def full(path, pairs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output, "write_pairs", full)
    with pytest.raises(ValueError, match=r"could not be written to .*: No space left on device"):
        write_mined(out, mined)
    assert not [place for place in out.rglob("*") if place.is_file()]


def test_the_tables_show_every_number(mined):
    table = summary_table(mined)
    rows = {line.split()[0]: line.split()[1:] for line in table.split("\n") if line}
    counts = [str(len(mined.by_kind[side]["docstring"])) for side in ("train", "heldout")]
    assert rows["docstring"] == ["(nl2code)", *counts]
    assert rows["all"] == [str(len(mined.train)), str(len(mined.heldout))]
    assert rows["python"][0] == str(sum(map(int, counts)))
    for reason, count in (mined.filtered | mined.files.skipped).items():
        assert any(line.startswith(reason) and line.endswith(f" {count}") for line in table.split("\n"))
    assert "files per second" in table
