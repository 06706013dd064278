import json

import pytest

from codequarry.data.sources.hub import UnreachableError, mteb_retrieval, records_of
from codequarry.data.sources.schema import Hub

pytest.importorskip("datasets")


@pytest.fixture
def layout(tmp_path):
    """A retrieval set in MTEB's layout, as a folder that `datasets` reads like one on the Hub."""
    folder = tmp_path / "set"
    files = {
        "corpus": [
            {"_id": "d1", "title": "", "text": "def add(a, b): return a + b"},
            {"_id": "d2", "title": "sub", "text": "def sub(a, b): return a - b"},
        ],
        "queries": [{"_id": "q1", "text": "add two numbers"}, {"_id": "q2", "text": "subtract"}],
        "qrels": [
            {"query-id": "q1", "corpus-id": "d1", "score": 1},
            {"query-id": "q2", "corpus-id": "d2", "score": 1},
            {"query-id": "q2", "corpus-id": "d1", "score": 0},
        ],
    }
    folder.mkdir()
    for name, records in files.items():
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)))
    splits = {"corpus": "corpus", "queries": "queries", "qrels": "train"}
    configs = "".join(
        f"- config_name: python-{name}\n  data_files:\n  - split: {split}\n    path: {name}.jsonl\n"
        for name, split in splits.items()
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    return tuple(Hub(str(folder), split, f"python-{name}") for name, split in splits.items())


def test_records_come_in_order_and_say_where_from(layout, tmp_path):
    records = list(records_of(layout, tmp_path / "lock.json"))
    assert [record["_config"] for record in records] == (
        ["python-corpus"] * 2 + ["python-queries"] * 2 + ["python-qrels"] * 3
    )
    assert records[0]["text"] == "def add(a, b): return a + b"
    assert not (tmp_path / "lock.json").exists()  # a folder has no revision to lock


def test_judgements_become_pairs(layout, tmp_path):
    read = mteb_retrieval("nl2code", "own", "mixed")
    pairs = list(read(records_of(layout, tmp_path / "lock.json")))
    assert [(pair.query, pair.document, pair.language) for pair in pairs] == [
        ("add two numbers", "def add(a, b): return a + b", "python"),
        ("subtract", "sub\ndef sub(a, b): return a - b", "python"),
    ]


def test_parquet_is_read_by_the_same_code(tmp_path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"text": ["one", "two"]}), tmp_path / "train.parquet")
    records = records_of([Hub(str(tmp_path))], tmp_path / "lock.json")
    assert [record["text"] for record in records] == ["one", "two"]


def with_hub(monkeypatch, revision):
    asked = []

    class Answer:
        sha = revision

    def dataset_info(self, dataset):
        asked.append(dataset)
        return Answer()

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", dataset_info)
    seen = []

    def load_dataset(dataset, name, split, streaming, revision):
        seen.append((dataset, split, streaming, revision))
        return [{"text": "x"}]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    return asked, seen


def test_a_revision_nobody_has_seen_is_asked_once_and_written_down(monkeypatch, tmp_path):
    asked, seen = with_hub(monkeypatch, "a" * 40)
    lock = tmp_path / "new" / "lock.json"
    for _ in range(2):
        assert len(list(records_of([Hub("some/set")], lock))) == 1
    assert asked == ["some/set"]
    assert seen == [("some/set", "train", True, "a" * 40)] * 2
    assert json.loads(lock.read_text()) == {"some/set": "a" * 40}
    assert list(lock.parent.iterdir()) == [lock]


def test_a_revision_in_the_row_needs_no_lock(monkeypatch, tmp_path):
    asked, seen = with_hub(monkeypatch, "a" * 40)
    list(records_of([Hub("some/set", revision="b" * 40)], tmp_path / "lock.json"))
    assert asked == []
    assert seen[0][3] == "b" * 40


@pytest.mark.parametrize("content", ["{", '["a"]', '{"some/set": 3}'])
def test_a_broken_lock_is_a_sentence(monkeypatch, tmp_path, content):
    with_hub(monkeypatch, "a" * 40)
    (tmp_path / "lock.json").write_text(content)
    with pytest.raises(ValueError, match="delete it to lock anew"):
        list(records_of([Hub("some/set")], tmp_path / "lock.json"))


def test_a_hub_that_does_not_answer_is_a_sentence(monkeypatch, tmp_path):
    def refuse_connection(self, dataset):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", refuse_connection)
    with pytest.raises(UnreachableError, match=r"some/set could not be read from the Hub \(no route\)"):
        list(records_of([Hub("some/set")], tmp_path / "lock.json"))
    assert not (tmp_path / "lock.json").exists()
