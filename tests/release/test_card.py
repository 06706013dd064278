import json

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from codequarry.common.files import write_json
from codequarry.release.card import card_of, renew_card, write_eval_results
from codequarry.release.manifest import check_manifest
from codequarry.release.runtimes import Runtime
from codequarry.release.trained_run import RunFolder
from codequarry.release.verify import Verification


def card(run, **files):
    return card_of(RunFolder.read(run), load_as="path/to/x", dtype="bf16", in_memory="fp32", **files)


def with_recipe(run, **fields):
    return with_record(run, recipe=json.loads((run / "training.json").read_text())["recipe"] | fields)


def with_record(run, **fields):
    record = json.loads((run / "training.json").read_text()) | fields
    (run / "training.json").write_text(json.dumps(record))
    return run


def file(tmp_path, value):
    path = tmp_path / "file.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_a_list_of_none_is_no_row(run):
    fields = card(with_recipe(run, projections=[], dims=[64, 32])).hyperparameters
    assert "projections" not in fields
    assert fields["dims"] == [64, 32]


def test_fields_of_tables_have_their_names_with_dots_and_none_is_left_out(run):
    objective = {"spread_out": 0.0, "matching": {"teacher": "a/b", "final_weight": None}}
    fields = card(with_recipe(run, objective=objective, lora=None)).hyperparameters
    assert fields["objective.matching.teacher"] == "a/b"
    assert fields["objective.spread_out"] == 0.0
    assert not {"objective", "objective.matching.final_weight", "lora", "data", "name"} & fields.keys()


def test_a_base_is_named_with_its_licence_where_a_reader_can_find_it(run):
    base = "sentence-transformers/all-MiniLM-L6-v2"
    for name, expected in (
        (base, (base, "Apache-2.0")),
        ("mini", ("mini", "Apache-2.0")),
        ("Qwen/Qwen2.5-Coder-0.5B", ("Qwen/Qwen2.5-Coder-0.5B", "Apache-2.0")),
        ("somebody/else", ("somebody/else", None)),
        ("/home/me/small", (None, None)),
    ):
        made = card(with_recipe(run, backbone={"name": name, "weights": "pretrained"}))
        assert (made.base_model, made.base_licence) == expected


def test_random_weights_have_no_base(run):
    made = card(with_recipe(run, backbone={"name": "mini", "weights": "random"}))
    assert made.base_model is None
    assert made.random_start


def test_scores_are_those_of_the_model_that_training_kept(run):
    validation = {"metric": "mean_ndcg@10", "scores": [{"step": 0}], "model": {"mean_ndcg@10": 0.89}}
    assert card(with_record(run, validation=validation)).scores == {"mean_ndcg@10": 0.89}
    assert card(with_record(run, validation=None)).scores == {}


def test_data_sets_of_the_hub_are_named_once_each(run):
    rows = [
        {"source": "cosqa", "task": "nl2code", "pairs": 1, "datasets": ["CoIR-Retrieval/cosqa"]},
        {"source": "cosqa", "task": "code2nl", "pairs": 1, "datasets": ["CoIR-Retrieval/cosqa"]},
        {"source": "tldr", "task": "nl2code", "pairs": 1},
    ]
    assert card(with_record(run, data=rows)).datasets == ("CoIR-Retrieval/cosqa",)


def test_nothing_that_was_not_passed_is_made_up(run):
    made = card(run)
    assert (made.results, made.decontamination, made.verification) == (None, None, None)


@pytest.mark.parametrize(("kind", "writer"), [("results", "benchmark"), ("verification", "release verify")])
def test_a_file_of_measurements_is_passed_on_as_it_is(run, tmp_path, kind, writer):
    found = {"command": "codequarry …", "rows": [{"runtime": "x"}]}
    assert getattr(card(run, **{kind: file(tmp_path, found)}), kind) == found
    for wrong in ("[]", {}, {"rows": 3}, {"rows": ["x"]}):
        with pytest.raises(ValueError, match=rf"file\.json has no rows: .*codequarry {writer}"):
            card(run, **{kind: file(tmp_path, wrong)})
    with pytest.raises(ValueError, match=r"file\.json cannot be read"):
        card(run, **{kind: file(tmp_path, "{")})


REPORT = {
    "in": 20,
    "out": 14,
    "why": {"too long": 6},
    "eval_sets": {},
    "sources": {"here": {"in": 20, "out": 14}},
}


def test_a_report_of_cleaning_is_passed_on_where_it_can_be_that_of_the_runs_data(run, tmp_path):
    assert card(run, decontamination=file(tmp_path, REPORT)).decontamination == REPORT
    with pytest.raises(ValueError, match=r"no report of cleaning"):
        card(run, decontamination=file(tmp_path, {"in": 20}))


@pytest.mark.parametrize("sources", [{}, {"here": {"in": 20, "out": 11}}, {"there": {"in": 20, "out": 14}}])
def test_a_report_of_other_data_is_refused(run, tmp_path, sources):
    with pytest.raises(ValueError, match=r"trained on 12 pairs of here, and cleaning left (0|11)"):
        card(run, decontamination=file(tmp_path, REPORT | {"sources": sources}))


def test_a_folder_of_this_machine_gets_into_no_field(run, tmp_path):
    report = REPORT | {
        "sources": {"/home/me/here": {"in": 20, "out": 14}},
        "limits": {"tokenizer": "/home/me/t"},
    }
    made = card(run, decontamination=file(tmp_path, report))
    assert made.decontamination["limits"] == {"tokenizer": "t"}
    assert "/home" not in json.dumps(made.decontamination)
    verified = {"rows": [{"runtime": "/home/me/env/bin/python"}]}
    assert card(run, verification=file(tmp_path, verified)).verification == {"rows": [{"runtime": "python"}]}


def test_what_the_base_had_been_trained_on_is_told_beside_the_scores(run):
    for name in ("sentence-transformers/all-MiniLM-L6-v2", "mini"):
        assert card(with_recipe(run, backbone={"name": name})).base_trained_on == ("CodeSearchNet",)
        random = card(with_recipe(run, backbone={"name": name, "weights": "random"}))
        assert random.base_trained_on == ()
    assert card(with_recipe(run, backbone={"name": "somebody/else"})).base_trained_on == ()


@pytest.fixture
def verification(release, tmp_path):
    """What `verify --out` writes, of one runtime that was near and one that gave no number."""
    rows = (
        Runtime("transformers", tmp_path, "float32", {"transformers": "5.0.1"}, 3.5e-7, 0.99999),
        Runtime("openvino", tmp_path, "float32", {"openvino": "2026.4"}, problems=("openvino gives NaN.",)),
    )
    path = tmp_path / "verification.json"
    write_json(
        path, Verification(release, ("openvino gives NaN.",), (), rows).record("codequarry release verify")
    )
    return path


def test_a_renewed_card_shows_the_runtimes_and_the_manifest_fits_it(release, verification):
    before = (release / "README.md").read_text(encoding="utf-8")
    assert "5.0.1" not in before
    renew_card(release, load_as="org/name", verification=verification)
    card = (release / "README.md").read_text(encoding="utf-8")
    assert "5.0.1" in card
    assert 'SentenceTransformer("org/name")' in card
    assert check_manifest(release) == []


def test_the_same_measurements_give_the_card_that_build_gave(release):
    before = (release / "README.md").read_bytes()
    renew_card(release)
    assert (release / "README.md").read_bytes() == before


def test_a_writing_that_was_cut_short_is_done_again(release):
    (release / "README.md").write_text("half", encoding="utf-8")
    renew_card(release)
    assert check_manifest(release) == []


def test_a_release_that_was_changed_is_refused(release):
    (release / "LICENSE").write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match="is not a release as it was built: LICENSE has 4 bytes"):
        renew_card(release)


def test_the_verification_of_another_release_is_refused(release, verification):
    record = json.loads(verification.read_text())
    write_json(verification, record | {"golden_vectors": "0" * 64})
    before = (release / "README.md").read_bytes()
    with pytest.raises(ValueError, match="is of another release"):
        renew_card(release, verification=verification)
    assert (release / "README.md").read_bytes() == before


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
