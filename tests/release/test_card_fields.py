import json

import pytest

from codequarry.release.card_fields import card_of
from codequarry.release.run_folder import RunFolder


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
