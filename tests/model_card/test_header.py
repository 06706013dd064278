import json
from dataclasses import replace
from pathlib import Path

import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from codequarry.model_card.card import Card, on_the_hub
from codequarry.model_card.header import header
from codequarry.model_card.render import render
from codequarry.modules.tasks import CODE

PLAIN = {
    "name": "mini",
    "load_as": "path/to/mini",
    "version": "0.1.0",
    "dims": (384, 128),
    "max_length": 256,
    "pooling": "mean",
    "prompts": CODE.prompts(),
    "dtype": "fp32",
    "in_memory": "fp32",
}


def test_the_header_is_what_the_hub_reads(card):
    found = yaml.safe_load(header(card))
    assert found["pipeline_tag"] == "feature-extraction"
    assert found["library_name"] == "sentence-transformers"
    assert found["license"] == "apache-2.0"
    assert found["base_model"] == "someone/base"
    assert found["datasets"] == ["someone/pairs"]
    assert {"sentence-transformers", "code", "text-embeddings-inference"} <= set(found["tags"])


def test_what_is_not_known_is_left_out_of_the_header():
    found = yaml.safe_load(header(Card(**PLAIN)))
    assert not {"base_model", "datasets", "model-index", "model_name", "eval_results"} & found.keys()
    assert json.dumps(found).count("null") == 0


def test_the_card_is_read_back_by_the_hubs_own_reader(card):
    read = ModelCard(render(card))
    assert read.data.pipeline_tag == "feature-extraction"
    assert read.data.model_name == "mini"
    assert read.text.lstrip().startswith("# mini")


def test_the_card_of_the_packaged_model_is_read_back_by_the_hubs_own_reader():
    root = Path(__file__).parents[2]
    data = ModelCard((root / "models" / "mini" / "README.md").read_text(encoding="utf-8")).data
    rows = json.loads((root / "benchmarks" / "results" / "mini.json").read_text())["rows"]
    own = {row["set"]: row["ndcg@10"] for row in rows if row["model"] == "mini" and row["set"] != "mean"}
    assert {one.dataset_name: one.metric_value for one in data.eval_results} == own
    assert (data.model_name, data.license, data.library_name) == (
        "mini", "apache-2.0", "sentence-transformers",
    )  # fmt: skip
    assert (data.base_model, data.pipeline_tag) == (
        "sentence-transformers/all-MiniLM-L6-v2", "feature-extraction",
    )  # fmt: skip


def test_the_model_index_holds_each_score_of_this_model_and_no_mean(card):
    name, found = model_index_to_eval_results(yaml.safe_load(header(card))["model-index"])
    own = {
        row["set"]: row["ndcg@10"]
        for row in card.results["rows"]
        if row["model"] == "mini" and row["set"] != "mean"
    }
    assert name == "mini"
    assert {one.dataset_name: one.metric_value for one in found} == own


def test_a_set_of_ours_does_not_bear_the_name_of_one_on_the_hub(card):
    rows = card.results["rows"]
    rows[1] |= {"dataset": "mteb/cosqa", "dataset_revision": "bc5efb7e9d43"}
    _, found = model_index_to_eval_results(yaml.safe_load(header(card))["model-index"])
    types = {one.dataset_name: (one.dataset_type, one.dataset_revision) for one in found}
    assert types == {"conala": ("codequarry-conala", None), "docs_qa": ("mteb/cosqa", "bc5efb7e9d43")}


def test_scores_of_another_model_are_never_this_ones(card):
    other = card.results | {"model": "nano"}
    assert "model-index" not in yaml.safe_load(header(replace(card, results=other)))


def test_only_owner_and_model_is_a_name_of_the_hub():
    assert on_the_hub("owner/model")
    for name in (None, "mini", "path/to/mini", "/models", "./mini", "~/mini"):
        assert not on_the_hub(name)
