import json
from pathlib import Path
from typing import Any

import pytest

from codequarry.data.eval_set import (
    EvalSet,
    eval_set_folders,
    pair_sets,
    read_eval_set,
    sample_of,
    set_of_pairs,
    write_eval_set,
)
from codequarry.data.pair import Pair

QUERIES = {"q0": "add two numbers", "q1": "naïve 加法"}
DOCUMENTS = {"d0": "def add(a, b):\n    return a + b", "d1": "", "d2": "x\r\ny"}


def small(**changed: Any) -> EvalSet:
    fields: dict[str, Any] = {
        "name": "small",
        "task": "nl2code",
        "queries": QUERIES,
        "documents": DOCUMENTS,
        "relevant": {"q0": {"d0": 1}, "q1": {"d0": 2, "d2": 1}},
        "languages": {"q0": "python"},
    }
    return EvalSet(**fields | changed)


def written(folder: Path, **files: str) -> Path:
    (folder / "qrels").mkdir(parents=True)
    texts = {
        "set.json": '{"task": "qa"}',
        "queries.jsonl": '{"_id": "q0", "text": "why?"}\n',
        "corpus.jsonl": '{"_id": "d0", "title": "", "text": "because"}\n',
        "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq0\td0\t1\n",
    }
    for name, text in (texts | files).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_set_that_is_written_reads_back_equal_and_the_same_set_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in (tmp_path / "a" / "small", tmp_path / "b" / "small"):
        write_eval_set(folder, small(), {"licence": "MIT"})
    assert read_eval_set(tmp_path / "a" / "small") == small()
    files = [path for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    assert len(files) == 4
    for file in files:
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()
    assert json.loads((tmp_path / "a/small/set.json").read_text()) == {"task": "nl2code", "licence": "MIT"}


def test_writing_replaces_an_older_set_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_eval_set(tmp_path / "small", small(), {})
    write_eval_set(tmp_path / "small", small(task="qa"), {})
    assert read_eval_set(tmp_path / "small").task == "qa"
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_set_with_candidates_is_not_written_without_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names candidates"):
        write_eval_set(tmp_path / "small", small(candidates={"q0": ["d0"]}), {})
    assert not list(tmp_path.iterdir())


def test_a_title_stands_before_its_text(tmp_path: Path) -> None:
    folder = written(tmp_path / "s", **{"corpus.jsonl": '{"_id": "d0", "title": "T", "text": "body"}\n'})
    assert read_eval_set(folder).documents == {"d0": "T\nbody"}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"documents": {}}, "no document"),
        ({"queries": {}}, "no query"),
        ({"queries": {"q0": " ", "q1": "x"}}, "'q0' of small: the text is blank"),
        ({"relevant": {"q0": {"d0": 1}}}, "'q1' of small: no document answers it"),
        ({"relevant": {"q0": {"d0": 1}, "q1": {"d9": 1}}}, "'d9' in .*: not in corpus"),
        ({"relevant": {"q0": {"d0": 1}, "q1": {"d0": 1}, "q7": {"d0": 1}}}, "'q7' in .*: not in queries"),
        ({"task": "search"}, "search"),
    ],
)
def test_a_set_that_cannot_be_scored_is_refused(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        small(**changed)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"queries.jsonl": '{"_id": "q0", "text": "a"}\n{"_id": "q0", "text": "b"}\n'}, r"jsonl:2: .*line 1"),
        ({"corpus.jsonl": '{"_id": "d0", "text": "a"}\n{broken\n'}, r"corpus.jsonl:2: not JSON"),
        (
            {"corpus.jsonl": '{"_id": 3, "text": "a"}\n'},
            r"corpus.jsonl:1: expected an object with the strings",
        ),
        ({"corpus.jsonl": "[]\n"}, r"corpus.jsonl:1: expected an object, found list"),
        ({"corpus.jsonl": ""}, "no document"),
        ({"qrels/test.tsv": "query-id\tcorpus-id\tscore\nq0 d0 1\n"}, r"test.tsv:2: expected query id"),
        ({"qrels/test.tsv": "query-id\tcorpus-id\tscore\nq0\td0\t0\n"}, "no document answers"),
        ({"set.json": "{}"}, "does not say which task"),
    ],
)
def test_what_is_wrong_in_the_files_is_named(tmp_path: Path, files: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_eval_set(written(tmp_path / "s", **files))


def test_a_folder_without_set_json_takes_the_task_it_is_given(tmp_path: Path) -> None:
    folder = written(tmp_path / "s")
    (folder / "set.json").unlink()
    assert read_eval_set(folder, "code2nl").task == "code2nl"


def test_a_set_that_was_half_written_when_its_process_died_is_not_found(tmp_path: Path) -> None:
    written(tmp_path / ".small.123.tmp")
    with pytest.raises(ValueError, match="holds no evaluation set"):
        eval_set_folders(tmp_path)


def test_sets_are_found_in_a_folder_of_them_and_where_the_folder_is_one(tmp_path: Path) -> None:
    names = [written(tmp_path / name).name for name in ("b", "a")]
    assert [folder.name for folder in eval_set_folders(tmp_path)] == sorted(names)
    assert eval_set_folders(tmp_path / "a") == [tmp_path / "a"]
    for empty in (tmp_path / "nowhere", tmp_path / "a" / "qrels"):
        with pytest.raises(ValueError, match="holds no evaluation set"):
            eval_set_folders(empty)


def test_equal_texts_become_one_and_every_pair_a_judgment() -> None:
    found = set_of_pairs(
        "small", "nl2code", [("add", "a + b", "python"), ("sum", "a + b", "go"), ("add", "b + a", "go")]
    )
    assert found.queries == {"q0": "add", "q1": "sum"}
    assert found.documents == {"d0": "a + b", "d1": "b + a"}
    assert found.relevant == {"q0": {"d0": 1, "d1": 1}, "q1": {"d0": 1}}
    assert found.languages == {"q0": "python", "q1": "go"}


def test_documents_given_beside_the_pairs_are_numbered_first() -> None:
    found = set_of_pairs("small", "nl2code", [("add", "a + b", "")], documents=["a - b", "a + b", "a - b"])
    assert found.documents == {"d0": "a - b", "d1": "a + b"}
    assert found.relevant == {"q0": {"d1": 1}}
    assert found.languages == {}


def test_equal_texts_are_one_query_and_one_document() -> None:
    (found,) = pair_sets(
        [Pair("qa", "q", "a", "s", "x"), Pair("qa", "q", "b", "s", "x"), Pair("qa", "r", "a", "s", "y")]
    )
    assert (list(found.queries.values()), list(found.documents.values())) == (["q", "r"], ["a", "b"])
    assert found.relevant == {"q0": {"d0": 1, "d1": 1}, "q1": {"d0": 1}}
    assert found.languages == {"q0": "x", "q1": "y"}


def test_negatives_of_pairs_are_searched_and_answer_nothing() -> None:
    (found,) = pair_sets(
        [
            Pair("qa", "q", "a", "s", "x", ("b", "n")),
            Pair("qa", "r", "b", "s", "x"),
            Pair("qa", "t", "c", "s", "x"),
        ]
    )
    by_text = {text: name for name, text in found.documents.items()}
    assert by_text.keys() == {"a", "b", "c", "n"}
    assert found.relevant == {f"q{n}": {by_text[text]: 1} for n, text in enumerate("abc")}


def test_pairs_of_two_tasks_are_two_sets_in_the_order_of_the_tasks() -> None:
    pairs = [Pair("code2nl", "f()", "calls f", "s", "x"), Pair("nl2code", "call f", "f()", "s", "x")]
    assert [(found.name, found.task) for found in pair_sets(pairs)] == [("nl2code",) * 2, ("code2nl",) * 2]


def test_no_pairs_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="there is no pair to score"):
        pair_sets([])


def large(queries: int = 40, documents: int = 200) -> EvalSet:
    return EvalSet(
        "large",
        "nl2code",
        {f"q{number}": f"query {number}" for number in range(queries)},
        {f"d{number}": f"document {number}" for number in range(documents)},
        {f"q{number}": {f"d{number}": 1, f"d{number + 1}": 2} for number in range(queries)},
        {f"q{number}": "python" for number in range(queries)},
    )


def test_a_sample_holds_its_queries_whole_with_their_documents_and_so_many_others() -> None:
    found, whole = sample_of(large(), 10, 20), large()
    assert len(found.queries) == len(found.relevant) == len(found.languages) == 10
    answers = {document for gains in found.relevant.values() for document in gains}
    assert answers <= found.documents.keys()
    assert len(found.documents) == len(answers) + 20
    assert found.relevant.items() <= whole.relevant.items()
    assert found.documents.items() <= whole.documents.items()


def test_a_sample_is_the_same_whatever_the_order_of_the_files_and_a_larger_one_holds_it() -> None:
    whole = large()
    reversed_set = EvalSet(
        whole.name,
        whole.task,
        dict(reversed(whole.queries.items())),
        dict(reversed(whole.documents.items())),
        whole.relevant,
    )
    some = sample_of(whole, 10, 20)
    assert set(sample_of(reversed_set, 10, 20).documents) == set(some.documents)
    assert set(some.queries) < set(sample_of(whole, 20, 20).queries)


def test_a_sample_larger_than_the_set_is_the_set() -> None:
    assert sample_of(large(), 1_000, 1_000) == large()


@pytest.mark.parametrize(
    ("found", "queries", "others", "sentence"),
    [
        (large(), 0, 1, "a sample of 0 queries"),
        (large(), 1, -1, "and -1 other documents"),
        (small(candidates={"q0": ["d0"], "q1": ["d0", "d2"]}), 1, 1, "names candidates"),
    ],
)
def test_what_is_no_sample_is_refused(found: EvalSet, queries: int, others: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        sample_of(found, queries, others)
