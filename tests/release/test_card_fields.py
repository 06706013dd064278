import json

from codequarry.release.card_fields import card_of
from codequarry.release.run_folder import RunFolder


def card(run):
    return card_of(RunFolder.read(run), load_as="path/to/x", dtype="bf16", in_memory="fp32", results=None)


def with_recipe(run, **fields):
    record = json.loads((run / "training.json").read_text())
    record["recipe"] |= fields
    (run / "training.json").write_text(json.dumps(record))
    return run


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
        ("Qwen/Qwen2.5-Coder-0.5B", ("Qwen/Qwen2.5-Coder-0.5B", None)),
        ("/home/me/small", (None, None)),
    ):
        made = card(with_recipe(run, backbone={"name": name, "weights": "pretrained"}))
        assert (made.base_model, made.base_licence) == expected


def test_random_weights_have_no_base(run):
    made = card(with_recipe(run, backbone={"name": "mini", "weights": "random"}))
    assert made.base_model is None
    assert made.random_start
