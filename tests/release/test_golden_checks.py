"""Golden vectors that ask less than they did are named: they would prove less."""

from pathlib import Path

import pytest

import codequarry
from codequarry.release.golden import GOLDEN
from codequarry.release.golden_checks import check_golden


def excuse_every_text(golden):
    for row in golden["rows"]:
        row["kind"] = "outer_whitespace"


def swap_two_prompts(golden):
    saved = golden["prompts"]
    saved["qa_query"], saved["qa_document"] = saved["qa_document"], saved["qa_query"]


def test_what_build_wrote_is_as_it_has_to_be(built):
    assert check_golden(built) == []


def test_the_embedded_model_asks_every_golden_text():
    assert check_golden(Path(codequarry.__file__).parent / "models" / "mini") == []


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda golden: golden["rows"].pop(0), "lacks 1 of"),
        (
            lambda golden: golden["rows"].pop(0),
            "such as 'parse an ISO 8601 date' with the prompt nl2code_que",
        ),
        (lambda golden: golden["rows"].clear(), "or another version of codequarry built the release"),
        (lambda golden: golden.pop("rows"), "cannot be read (KeyError: 'rows')"),
        (lambda golden: golden["rows"].append(3), "cannot be read (TypeError"),
        (excuse_every_text, "lacks"),
        (lambda golden: golden["dims"].pop(), "has dims [64, 32], config.json [64, 32, 16]"),
        (lambda golden: golden.pop("dims"), "cannot be read (KeyError: 'dims')"),
        (swap_two_prompts, "has other prompts than the tasks"),
        (lambda golden: golden["rows"][3]["vector"].pop(), "no unit vector of 64 numbers for 1 of"),
        (lambda golden: golden["rows"][3].update(vector=[0.0] * 64), "no unit vector of 64 numbers for 1 of"),
        (lambda golden: golden["rows"][3].update(vector=[float("nan")] * 64), "no unit vector of 64"),
        (lambda golden: golden["rows"][3].update(vector="none"), "no unit vector of 64 numbers"),
    ],
)
def test_a_golden_file_that_asks_less_is_named(spoilt, edit, named):
    said = spoilt(GOLDEN, edit)
    assert said.startswith(GOLDEN)
    assert named in said
