import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from codequarry.release.eval_results import write_eval_results

OFFICIAL = {"dataset": "mteb/cosqa", "dataset_revision": "bc5efb7e9d434d6a2b7c4b7d5c4c9c0d9f8f0a11"}


def results(*rows):
    return {"model": "mini", "date": "2026-11-21", "rows": list(rows)}


def row(**changes):
    return {"model": "mini", "set": "CosQA", "task": "nl2code", "ndcg@10": 0.3841} | OFFICIAL | changes


def test_a_score_is_read_back_as_it_stands_in_the_results(tmp_path):
    (path,) = write_eval_results(tmp_path, results(row()))
    assert path == tmp_path / ".eval_results" / "CosQA.yaml"
    (entry,) = parse_eval_result_entries(yaml.safe_load(path.read_text()))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("mteb/cosqa", "CosQA", 0.3841)
    assert (entry.dataset_revision, entry.date) == (OFFICIAL["dataset_revision"], "2026-11-21")
    assert entry.notes == "nDCG@10, with the prompts of nl2code"


@pytest.mark.parametrize("changes", [{"dataset": None}, {"model": "BM25"}, {"ndcg@10": None}])
def test_sets_that_are_not_on_the_hub_other_models_and_what_was_not_measured_are_left_out(tmp_path, changes):
    assert write_eval_results(tmp_path, results(row(**changes))) == []
    assert list(tmp_path.iterdir()) == []


def test_the_same_results_give_the_same_bytes(tmp_path):
    def written():
        return [path.read_bytes() for path in write_eval_results(tmp_path, results(row(), row(set="Apps")))]

    assert written() == written()


@pytest.mark.parametrize("dataset", ["cosqa", "../cosqa", "a/b/c", "mteb/", "/cosqa"])
def test_a_data_set_that_is_no_name_on_the_hub_is_refused(tmp_path, dataset):
    with pytest.raises(ValueError, match="no name of a data set on the Hub"):
        write_eval_results(tmp_path, results(row(dataset=dataset)))


def test_two_scores_of_one_set_are_refused(tmp_path):
    with pytest.raises(ValueError, match="two scores of CosQA"):
        write_eval_results(tmp_path, results(row(), row()))
    assert list(tmp_path.iterdir()) == []


def test_a_set_cannot_name_a_file_elsewhere(tmp_path):
    (path,) = write_eval_results(tmp_path, results(row(set="../../etc/passwd")))
    assert path.parent == tmp_path / ".eval_results"
