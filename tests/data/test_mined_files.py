import json

import pytest

from codequarry.data import mined_files
from codequarry.data.mined_files import summary_table, write_mined
from codequarry.data.mining import mine
from codequarry.data.pair_files import PairError, fingerprint, read_pairs


@pytest.fixture
def mined(tmp_path):
    root = tmp_path / "checkout"
    root.mkdir()
    for number in range(10):
        (root / f"part_{number}.py").write_text(
            f'def work_{number}(a):\n    """Works on case number {number}."""\n'
            f"    b = {number}\n    return a + b\n"
        )
    (root / "picture.png").write_bytes(b"\0")
    return mine([root], progress=False)


def test_both_sides_come_back_and_the_counts_are_theirs(mined, tmp_path):
    out = tmp_path / "out"
    write_mined(out, mined)
    assert read_pairs(out / "train").pairs == mined.train
    assert read_pairs(out / "heldout").pairs == mined.heldout
    counts = json.loads((out / "mined.json").read_text())
    assert counts["roots"] == ["checkout"]
    assert counts["files"] == {"read": 10, "skipped": {"unknown kind": 1}}
    for side in ("train", "heldout"):
        assert sum(counts["pairs"][side].values()) == len(getattr(mined, side)) > 0
        assert sum(counts["languages"][side].values()) == len(getattr(mined, side))
        assert counts["fingerprints"][side] == fingerprint(out / side)


def test_the_same_pairs_give_the_same_bytes_and_no_path_of_this_machine(mined, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    write_mined(one, mined)
    write_mined(two, mined)
    for place in ("train/pairs.jsonl.gz", "heldout/pairs.jsonl.gz", "mined.json"):
        assert (one / place).read_bytes() == (two / place).read_bytes()
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

    whole = mined_files.write_pairs
    monkeypatch.setattr(mined_files, "write_pairs", write_or_die)
    with pytest.raises(KeyboardInterrupt):
        write_mined(out, mined)
    assert not (out / "mined.json").exists()
    with pytest.raises(PairError):
        read_pairs(out / "train")


def test_the_table_shows_every_number(mined):
    lines = summary_table(mined).split("\n")
    rows = {line.rsplit(maxsplit=2)[0]: line.split()[1:] for line in lines if line.startswith(("nl2", "all"))}
    assert rows["nl2code"] == [
        str(sum(pair.task == "nl2code" for pair in side)) for side in (mined.train, mined.heldout)
    ]
    assert rows["all"] == [str(len(mined.train)), str(len(mined.heldout))]
    for reason, count in (mined.filtered | mined.sources.skipped).items():
        assert any(line.startswith(reason) and line.endswith(f" {count}") for line in lines)
