import json
import re

import pytest
import yaml

from codequarry.model_card.card import Card
from codequarry.model_card.render import render
from codequarry.modules.tasks import prompts

PLAIN = {
    "name": "mini",
    "load_as": "someone/mini",
    "version": "0.1.0",
    "dims": (384, 128),
    "max_length": 256,
    "pooling": "mean",
    "dtype": "fp32",
    "in_memory": "fp32",
}
SIZE = {"queries": 311, "documents": 2804}
RESULTS = {
    "benchmark": "code search, held out by file",
    "command": "codequarry benchmark quality --model runs/mini --seed 17",
    "date": "2026-11-21",
    "hardware": {"processor": "Xeon 8370C", "cores": 2},
    "versions": {"torch": "2.13.0"},
    "rows": [
        {"model": "mini", "task": "nl2code", **SIZE, "ndcg@10": 0.81249, "mrr@10": 0.7813, "recall@1": 0.702},
        {"model": "bm25", "task": "mean", **SIZE, "ndcg@10": 0.6, "mrr@10": 0.55, "recall@1": 0.41},
    ],
}


def section(text, title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE).group(1)


def numbers(text):
    return set(re.findall(r"\d+(?:\.\d+)?", text))


def test_every_number_in_the_results_occurs_in_the_results_file():
    shown = numbers(section(render(Card(**PLAIN, results=RESULTS)), "Results"))
    in_file = numbers(json.dumps(RESULTS))
    rounded = {f"{float(number):.3f}" for number in in_file}
    headings = {"10", "1"}  # nDCG@10, recall@1
    assert shown - headings <= in_file | rounded
    assert {"0.812", "0.781", "0.702", "0.600", "311", "2804", "8370"} <= shown


def test_the_command_that_made_the_results_is_shown():
    assert f"`{RESULTS['command']}`" in section(render(Card(**PLAIN, results=RESULTS)), "Results")


@pytest.mark.parametrize("results", [None, {}, {"rows": []}])
def test_without_results_the_card_says_not_measured_and_no_number(results):
    text = section(render(Card(**PLAIN, results=results)), "Results")
    assert text.strip() == "not measured"


@pytest.mark.parametrize("missing", ["ndcg@10", "recall@1", "queries"])
def test_a_number_that_was_not_measured_is_called_so(missing):
    row = {key: value for key, value in RESULTS["rows"][0].items() if key != missing}
    table = section(render(Card(**PLAIN, results=RESULTS | {"rows": [row]})), "Results")
    assert table.count("not measured") == 1


def test_a_card_without_any_training_record_has_no_gap():
    training = section(render(Card(**PLAIN)), "Training")
    for name in ("Data", "Optimiser steps", "Time", "Hardware", "Versions", "Hyperparameters"):
        assert f"- {name}: not measured" in training


def test_no_field_is_left_blank_or_none():
    for card in (Card(**PLAIN), Card(**PLAIN, results=RESULTS, random_start=True)):
        text = render(card)
        assert "None" not in text
        assert not re.search(r"\|[ \t]+\|", text.replace("| | |\n| --- | --- |", ""))
        assert not re.search(r":\s*$", section(text, "Training"), re.MULTILINE)
        assert "{{" not in text
        assert "{%" not in text


def test_every_prompt_is_shown_with_its_string():
    text = section(render(Card(**PLAIN)), "Prompts")
    for name, prompt in prompts().items():
        assert f"| `{name}` | `{json.dumps(prompt)}` |" in text


def test_the_header_is_what_the_hub_reads():
    header = yaml.safe_load(render(Card(**PLAIN, base_model="someone/base")).split("---\n")[1])
    assert header["pipeline_tag"] == "feature-extraction"
    assert header["library_name"] == "sentence-transformers"
    assert header["license"] == "apache-2.0"
    assert header["base_model"] == "someone/base"
    assert {"sentence-transformers", "code", "text-embeddings-inference"} <= set(header["tags"])
    assert "datasets" not in header


def test_data_sets_and_base_stand_in_the_header_only_when_known():
    header = yaml.safe_load(render(Card(**PLAIN, datasets=("someone/pairs",))).split("---\n")[1])
    assert header["datasets"] == ["someone/pairs"]
    assert "base_model" not in header


def test_a_random_start_names_no_base():
    assert "training began with random weights" in render(Card(**PLAIN, random_start=True))


DATA = (
    {"source": "here", "task": "qa", "pairs": 1200, "licence": "CC-BY-SA-4.0", "pairs_drawn": 640},
    {"source": "here", "task": "nl2code", "pairs": 300, "licence": "CC-BY-SA-4.0", "pairs_drawn": 64},
    {"source": "yonder", "task": "qa", "pairs": 10, "licence": "MIT", "pairs_drawn": 0},
    {"source": "there", "task": "nl2code", "pairs": 34, "licence": None},
)


def test_training_data_is_listed_by_source_and_by_licence_and_how_much_of_it_was_drawn():
    text = section(render(Card(**PLAIN, training_data=DATA)), "Training")
    assert "| here | CC-BY-SA-4.0 | nl2code, qa | 1,500 | 704 |\n" in text
    assert "| there | not recorded | nl2code | 34 | not measured |\n" in text
    assert "1,544 pairs in all." in text
    assert "| CC-BY-SA-4.0 | 1 | 1,500 | 704 |\n| not recorded | 1 | 34 | not measured |\n| MIT | 1 |" in text
    assert "<details>" not in text


def test_a_long_list_of_sources_is_folded():
    rows = tuple({"source": f"owner/{number}", "task": "qa", "pairs": 1} for number in range(21))
    text = section(render(Card(**PLAIN, training_data=rows)), "Training")
    folded = text[
        text.index("<details><summary>All 21 sources</summary>\n\n|") : text.index("\n\n</details>\n")
    ]
    assert folded.count("| owner/") == 21
    assert "licence of the texts" not in text, "there is one only"


def test_the_licence_names_base_and_share_alike_sources():
    text = section(render(Card(**PLAIN, base_model="a/b", base_licence="MIT", training_data=DATA)), "Licence")
    assert (
        "Apache-2.0, in `LICENSE`. The weights began as those of [a/b](https://huggingface.co/a/b) (MIT),"
        in text
    )
    assert "came from here (CC-BY-SA-4.0)." in text
    assert "yonder" not in text
    plain = section(render(Card(**PLAIN)), "Licence")
    assert plain.strip() == "Apache-2.0, in `LICENSE`."


def test_a_model_trained_on_mini_names_it_without_a_link_to_the_hub():
    text = render(Card(**PLAIN, base_model="mini", base_licence="Apache-2.0"))
    assert "| base model | `mini`, which comes with codequarry |" in text
    assert "base_model" not in yaml.safe_load(text.split("---\n")[1])


def test_weights_in_two_types_are_told_apart():
    assert "| weights | safetensors, fp32 |" in render(Card(**PLAIN))
    card = Card(**PLAIN | {"dtype": "bf16"})
    assert "| weights | safetensors, bf16 on disk, fp32 once loaded |" in render(card)


def test_what_was_kept_of_the_base_is_told():
    fields = {"objective.matching.teacher": "a/b", "objective.matching.weight": 0.5, "average_with_base": 0.3}
    text = section(render(Card(**PLAIN, hyperparameters=fields)), "Training")
    assert "Kept near `a/b`: a term of the loss with weight 0.5 is 1 - cosine" in text
    assert "Final weights: the trained ones, times 0.7, and those training began with, times 0.3" in text
    falling = fields | {"objective.matching.final_weight": 0.0}
    assert "with weight 0.5, in the end 0.0, is 1" in render(Card(**PLAIN, hyperparameters=falling))


def test_validation_scores_are_a_table_of_tasks_and_sizes():
    scores = {"mean_ndcg@10": 0.8347, "qa_ndcg@10": 0.81, "mean_128_ndcg@10": 0.7, "loss": 2.5}
    text = section(render(Card(**PLAIN, scores=scores)), "Training")
    assert "| task | whole vectors | 128 dims |\n| --- | ---: | ---: |\n| mean | 0.835 | 0.700 |\n" in text
    assert "| qa | 0.810 | not measured |" in text
    assert "chose the checkpoint" not in text
    assert "held out of the same" not in render(Card(**PLAIN))


@pytest.mark.parametrize(
    ("seconds", "words"), [(42.4, "42 seconds"), (333, "6 minutes"), (7300, "2.0 hours")]
)
def test_time_is_told_in_the_unit_that_fits(seconds, words):
    assert f"- Time: {words}\n" in render(Card(**PLAIN, seconds=seconds))


def test_a_model_of_one_size_has_no_section_on_smaller_vectors():
    assert "Smaller vectors" in render(Card(**PLAIN))
    assert "Smaller vectors" not in render(Card(**PLAIN | {"dims": (384,)}))


def test_every_table_has_a_blank_line_before_it_and_its_rows_together():
    """Markdown shows anything else as text."""
    card = Card(
        **PLAIN,
        results=RESULTS,
        training_data=DATA,
        hyperparameters={"temperature": 0.05},
        scores={"mean_ndcg@10": 0.8, "mean_64_ndcg@10": 0.7},
    )
    lines = render(card).splitlines()
    for number, line in enumerate(lines):
        if re.fullmatch(r"\|( -+:? \|)+", line):
            assert lines[number - 2] == "", lines[number - 2 : number + 2]
            assert lines[number + 1].startswith("|"), lines[number : number + 2]
