import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from codequarry.model_card.card import Card, on_the_hub
from codequarry.model_card.render import header, render
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


def test_a_card_has_these_sections_in_this_order(card):
    assert re.findall(r"^## (.*)$", render(card), re.MULTILINE) == [
        "What it is for",
        "What it is not for",
        "Prompts",
        "Results",
        "Smaller vectors",
        "Fewer bits",
        "Other runtimes",
        "On a server",
        "Training",
        "Limits",
        "Security",
        "Licence",
        "Citation",
    ]


def test_a_section_begins_after_a_blank_line(card):
    for text in (render(card), render(Card(**PLAIN))):
        assert not re.search(r"[^\n]\n##+ ", text)
        assert "\n\n\n" not in text


def test_the_first_snippet_says_which_model_and_which_prompts(card):
    snippet = re.search(r"```python\n(.*?)```", render(card), re.DOTALL)[1]
    assert 'SentenceTransformer("someone/mini")' in snippet
    assert 'prompt_name="nl2code_query", normalize_embeddings=True' in snippet
    compile(snippet, "card", "exec")


def test_every_prompt_is_shown_with_its_string(section):
    text = section(render(Card(**PLAIN)), "Prompts")
    for name, prompt in CODE.prompts().items():
        assert f"| `{name}` | `{json.dumps(prompt)}` |" in text


def test_the_command_that_made_the_results_is_shown(card, section):
    text = render(card)
    assert f"- Made by: `{card.results['command']}`" in section(text, "Results")
    assert f"- Made by: `{card.verification['command']}`, 2026-11-22" in section(text, "Other runtimes")


@pytest.mark.parametrize("results", [None, {}, {"rows": []}])
def test_without_results_every_section_on_quality_says_not_measured(results, section):
    text = render(Card(**PLAIN, results=results))
    assert section(text, "Results").strip() == "not measured"
    for title in ("What a forgotten prompt costs", "Smaller vectors", "Fewer bits", "Other runtimes"):
        assert section(text, title).strip().endswith("not measured"), title
    assert section(text, "Decontamination").strip().endswith("not measured")


@pytest.mark.parametrize("missing", ["ndcg@10", "recall@1", "queries", "high"])
def test_a_number_that_was_not_measured_is_called_so(card, section, missing):
    row = {key: value for key, value in card.results["rows"][0].items() if key != missing}
    text = section(render(replace(card, results=card.results | {"rows": [row]})), "Results")
    line = next(line for line in text.splitlines() if line.startswith("| mini | conala |"))
    assert line.count("not measured") == 1


def test_results_without_bm25_or_peers_say_so(card, section):
    def said(models):
        rows = [row for row in card.results["rows"] if row["model"] in models]
        return section(render(replace(card, results=card.results | {"rows": rows})), "Results")

    assert "- BM25: not measured" in said(["mini"])
    assert "- Other models: not measured" in said(["mini"])
    assert "- BM25: not measured" in said(["mini", "all-MiniLM-L6-v2"])
    assert "not measured" not in said(["mini", "BM25"])


def test_a_set_that_the_mean_leaves_out_is_marked(card, section):
    rows = [row | ({"in_mean": False} if row["set"] == "conala" else {}) for row in card.results["rows"]]
    text = section(render(replace(card, results=card.results | {"rows": rows})), "Results")
    assert "| conala\\* |" in text
    assert "\\* in any table here: left out of the mean" in text
    assert "\\*" not in section(render(card), "Results")


def test_no_field_is_left_blank_whichever_of_them_is_missing(card):
    empty = Card(**PLAIN)
    for field in fields(Card):
        for text in (
            render(replace(card, **{field.name: getattr(empty, field.name)})),
            render(replace(empty, **{field.name: getattr(card, field.name)})),
        ):
            cells = text.replace("| | |\n| --- | --- |", "")
            assert not re.search(r"\|[ \t]*\|", re.sub(r"`[^`\n]*`", "code", cells)), field.name
            assert not re.search(r"^- .*:\s*$", text, re.MULTILINE), field.name
            assert "None" not in text
            assert "{{" not in text
            assert "{%" not in text


def test_a_card_without_any_training_record_has_no_gap(section):
    training = section(render(Card(**PLAIN)), "Training")
    for name in ("Data", "Optimiser steps", "Time", "Hardware", "Versions", "Hyperparameters"):
        assert f"- {name}: not measured" in training


def test_a_random_start_names_no_base():
    assert "training began with random weights" in render(Card(**PLAIN, random_start=True))


def test_training_data_is_listed_by_source_and_by_licence_and_how_much_of_it_was_drawn(card, section):
    strange = {"source": "there", "task": "nl2code", "pairs": 34, "licence": None}
    text = section(render(replace(card, training_data=(*card.training_data, strange))), "Training")
    assert "1,578 pairs in all." in text
    assert "| here | CC-BY-SA-4.0 | nl2code, qa | 1,500 | 704 |\n" in text
    assert "| there | not recorded | nl2code | 34 | not measured |\n" in text
    assert "| CC-BY-SA-4.0 | 1 | 1,500 | 704 |\n| MIT | 1 | 44 | 32 |\n| not recorded | 1 |" in text
    assert "Every source" not in text


def test_a_long_list_of_sources_is_folded(section):
    rows = tuple({"source": f"owner/{number}", "task": "qa", "pairs": 1} for number in range(21))
    text = section(render(Card(**PLAIN, training_data=rows)), "Training")
    folded = text[
        text.index("<details><summary>Every source</summary>\n\n|") : text.index("\n\n</details>\n")
    ]
    assert folded.count("| owner/") == 21
    assert "licence of the texts" not in text, "there is one only"


def test_decontamination_names_each_set_and_what_was_taken_out(card, section):
    text = section(render(card), "Decontamination")
    assert "read 1,777 pairs and kept 1,544" in text
    assert "| conala | 962 | 55 |\n| docs_qa | 4,154 | none |\n" in text
    assert "| evaluation: same text | 55 |" in text
    assert "python 1,201, go 343" in section(render(card), "Limits")


def test_the_licence_names_base_and_share_alike_sources(card, section):
    text = section(render(card), "Licence")
    base = "Apache-2.0, in `LICENSE`. The weights began as those of [someone/base](https://huggingface.co/someone/base)"
    assert f"{base} (MIT)," in text
    assert "came from here (CC-BY-SA-4.0)." in text
    assert "yonder" not in text
    assert section(render(Card(**PLAIN)), "Licence").strip() == "Apache-2.0, in `LICENSE`."


def test_a_model_trained_on_mini_names_it_without_a_link_to_the_hub():
    text = render(Card(**PLAIN, base_model="mini", base_licence="Apache-2.0"))
    assert "| base model | `mini`, which comes with codequarry |" in text
    assert "base_model" not in text.split("---\n")[1]


def test_weights_in_two_types_are_told_apart():
    assert "| weights | safetensors, fp32 |" in render(Card(**PLAIN))
    card = Card(**PLAIN | {"dtype": "bf16"})
    assert "| weights | safetensors, bf16 on disk, fp32 once loaded |" in render(card)


def test_what_was_kept_of_the_base_is_told(section):
    settings = {
        "objective.matching.teacher": "a/b",
        "objective.matching.weight": 0.5,
        "average_with_base": 0.3,
    }
    text = section(render(Card(**PLAIN, hyperparameters=settings)), "Training")
    assert "Kept near `a/b`: a term of the loss with weight 0.5 is the distance" in text
    assert "Final weights: the trained ones, times 0.7, and those training began with, times 0.3" in text
    falling = settings | {"objective.matching.final_weight": 0.0}
    assert "with weight 0.5, in the end 0.0, is" in render(Card(**PLAIN, hyperparameters=falling))


def test_scores_on_held_out_pairs_are_shown_where_there_are_some(card, section):
    text = section(render(card), "Training")
    assert "| task | whole vectors | 128 dims |\n| --- | ---: | ---: |\n| mean | 0.835 | 0.712 |\n" in text
    assert "chose the checkpoint" not in text
    assert "held out of the same" not in render(Card(**PLAIN))


def test_a_model_of_one_size_has_no_section_on_smaller_vectors(card):
    assert "Smaller vectors" in render(card)
    assert "Smaller vectors" not in render(replace(card, dims=(384,)))
    assert '"dimensions"' not in render(replace(card, dims=(384,)))


def server_bodies(text, section):
    """The JSON that the two curl commands send."""
    return [
        json.loads(body) for body in re.findall(r"-d '(\{.*?\})'\n", section(text, "On a server"), re.DOTALL)
    ]


@pytest.mark.parametrize("dims", [(384, 128), (384,)])
def test_what_is_sent_to_servers_is_json_with_the_prompt_named_or_in_front(card, section, dims):
    named, prompted = server_bodies(render(replace(card, dims=dims)), section)
    assert named["prompt_name"] in CODE.prompts()
    query, document = prompted["input"]
    assert query == CODE.prompts()[named["prompt_name"]] + named["inputs"][0]
    assert document.startswith(CODE.prompts()["nl2code_document"])
    assert named.get("dimensions") == prompted.get("dimensions") == (128 if len(dims) > 1 else None)


def test_a_decoder_is_served_on_a_gpu_and_a_folder_is_mounted(card, section):
    text = section(render(card), "On a server")
    assert ":cpu-" in text
    assert "--model-id someone/mini" in text
    decoder = section(render(replace(card, pooling="lasttoken", load_as="path/to/nano")), "On a server")
    assert "--gpus all" in decoder
    assert ":cuda-" in decoder
    assert '-v "$PWD/nano:/model"' in decoder
    assert "--model-id /model" in decoder


def test_each_wrong_prompt_that_was_not_tried_is_called_so(card, section):
    text = section(render(card), "What a forgotten prompt costs")
    assert text.rstrip().endswith("\n\n- task swapped: not measured")
    assert text.count("not measured") == 1


def test_each_runtime_that_was_not_run_is_called_so(card, section):
    text = section(render(card), "Other runtimes")
    assert re.findall(r"^- (.+): not measured$", text, re.MULTILINE) == [
        "transformers", "openvino", "llama-cpp-python",
    ]  # fmt: skip


def test_a_server_that_was_not_run_is_called_so(card, section):
    assert section(render(card), "On a server").count("Not run here") == 2
    run = {"rows": [{"runtime": "vLLM", "version": "0.28.0", "ok": True}]}
    assert section(render(replace(card, verification=run)), "On a server").count("Not run here") == 1


def test_the_three_papers_are_cited_and_none_is_claimed_whole(card, section):
    text = section(render(card), "Citation")
    for number in ("2508.21290", "2509.20354", "2305.07922"):
        assert text.count(number) == 1
    for paper in ("jina-code-embeddings", "EmbeddingGemma", "CodeT5+"):
        assert "Not taken: " in next(line for line in text.splitlines() if line.startswith(f"- **{paper}.**"))


def test_every_table_has_a_blank_line_before_it_its_rows_together_and_as_many_cells_as_heads(card):
    """Markdown shows anything else as text."""
    lines = render(card).splitlines()
    tables = [number for number, line in enumerate(lines) if re.fullmatch(r"\|( -+:? \|)+", line)]
    assert len(tables) > 10
    for number in tables:
        assert lines[number - 2] == "", lines[number - 2 : number + 2]
        assert lines[number + 1].startswith("|"), lines[number : number + 2]
        for line in lines[number - 1 :]:
            if not line:
                break
            assert re.sub(r"`[^`]*`", "", line).count("|") == lines[number].count("|"), line


def test_the_templates_stay_short_enough_to_be_read():
    from codequarry.model_card import render as module

    found = list(module._FOLDER.glob("*.md"))
    assert len(found) > 5
    assert all(len(path.read_text().splitlines()) < 200 for path in found)


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
