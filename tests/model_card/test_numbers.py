"""Every number in a card comes from somewhere: walk the rendered text and look each one up."""

import json
import re
from collections import Counter
from dataclasses import asdict, replace
from math import prod
from pathlib import Path

import pytest
from safetensors import safe_open

from codequarry.model_card.render import render
from codequarry.modules.tasks import CODE

# Not after a letter, a hyphen or @: `nDCG@10`, `int8`, `Apache-2.0` and `L6` are names.
NUMBER = re.compile(r"(?<![\w@.,+-])\d[\d,]*(?:\.\d+)*(?:e[+-]?\d+)?")
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def numbers_in(text):
    return {found.rstrip(",").replace(",", "") for found in NUMBER.findall(text)}


def shown(text):
    """The numbers of a card: code fences and prompts aside, for these hold examples."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for prompt in CODE.prompts().values():
        text = text.replace(json.dumps(prompt), "")
    return numbers_in(text)


def known(card):
    """What may stand in a card: its fields' numbers."""
    return numbers_of(asdict(card), card.training_data, card.seconds or 0)


def numbers_of(values, training_data, seconds):
    """Every number in plain data, also rounded; sums over sources of the pairs; the time in other units."""
    plain = json.dumps(values, default=str)
    found = numbers_in(plain) | set(re.findall(r"\d+(?:\.\d+)*(?:e-?\d+)?", plain))
    for value in _floats(values):
        found |= {f"{value:.3f}", f"{value:.7f}", f"{value:.1e}"}
    sums, sources = Counter(), {}
    for row in training_data:
        for what in ("pairs", "pairs_drawn"):
            for group in ("all", row["source"], row["licence"]):
                sums[what, group] += row.get(what) or 0
        sources.setdefault(row["licence"], set()).add(row["source"])
    found |= {str(total) for total in sums.values()} | {str(len(names)) for names in sources.values()}
    return found | {f"{seconds:.0f}", f"{seconds / 60:.0f}", f"{seconds / 3600:.1f}"}


def _floats(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [number for item in value for number in _floats(item)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def test_every_number_in_a_card_is_found_in_its_fields(card):
    assert shown(render(card)) - known(card) == set()


def test_the_walk_sees_scores_counts_times_and_versions(card):
    text = render(card)
    expected = {
        "0.657",
        "0.440",
        "2069",
        "22713216",
        "58",
        "0.9999999",
        "1.3e-07",
        "6.2.0",
        "962",
        "1024",
        "0.05",
    }
    assert expected <= shown(text)


@pytest.mark.parametrize("invented", ["about 0.9 on most sets", "in 17 languages", "scores 66.1 in all"])
def test_the_walk_finds_a_number_that_nobody_measured(card, invented):
    assert shown(render(card) + invented) - known(card)


def test_the_templates_bring_no_number_of_their_own(card):
    empty = replace(
        card,
        results=None,
        verification=None,
        decontamination=None,
        training_data=(),
        hyperparameters={},
        scores={},
        hardware={},
        versions={},
    )
    for pooling in ("mean", "lasttoken"):
        bare = replace(empty, pooling=pooling)
        assert shown(render(bare)) <= known(bare)


def test_every_number_in_the_card_of_the_packaged_model_is_found_in_its_files():
    folder = RESULTS.parents[1] / "models" / "mini"
    files = [RESULTS / f"{name}.json" for name in ("mini", "decontamination", "verify-mini")]
    found = {path.stem: json.loads(path.read_text()) for path in [*files, *folder.glob("*.json")]}
    record = found["training"]
    with safe_open(folder / "model.safetensors", framework="numpy") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    text = (folder / "README.md").read_text(encoding="utf-8")
    in_files = numbers_of([*found.values(), sum(map(prod, shapes))], record["data"], record["seconds"])
    assert shown(text) - in_files == set()
    assert {"22713216", f"{found['mini']['speed']['tokens_per_second']}", "600"} <= shown(text)
