"""Every field that servers need is there, and named with the server when it is not."""

import json
import math
from pathlib import Path

import pytest

import codequarry
from codequarry.release.server_requirements import NEEDS, is_number, is_whole, shown, unmet_needs

MINI = Path(codequarry.__file__).parent / "models" / "mini"

FILES = sorted({need.file for need in NEEDS})


def fields(folder):
    return {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in FILES}


def test_a_release_of_either_family_meets_every_need(built):
    for folder, family in ((built, "qwen2"), (MINI, "bert")):
        assert fields(folder)["config.json"]["model_type"] == family
        assert unmet_needs(fields(folder)) == []


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: f"{need.field}-{len(need.families)}")
def test_each_need_is_named_with_its_file_its_field_and_a_reason(built, need):
    files = fields(MINI if need.families == ("bert",) else built)
    files[need.file][need.field] = ["nothing", "of this kind"]
    problems = unmet_needs(files)
    expected = f'{need.file} has {need.field} ["nothing", "of this kind"], not {need.kind}: {need.reason}.'
    if need.field != "model_type":  # without one, no family is asked for more
        assert problems == [expected]
    assert expected in problems


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: f"{need.field}-{len(need.families)}")
def test_a_field_that_is_absent_is_named_unless_servers_have_a_default(built, need):
    files = fields(MINI if need.families == ("bert",) else built)
    files[need.file].pop(need.field, None)
    problems = unmet_needs(files)
    if need.allows(None):
        assert problems == []
    else:
        assert any(f"{need.file} has {need.field} null" in problem for problem in problems)


def test_it_is_said_which_server_needs_it():
    for need in NEEDS:
        assert any(name in need.reason for name in ("text-embeddings-inference", "vLLM", "the prompt")), need


@pytest.mark.parametrize("value", [None, True, 0, -1, 1.0, "1", [1], 10**400])
def test_what_is_no_size_of_a_model_is_not_whole(value):
    assert not is_whole(value)
    assert is_whole(1)


@pytest.mark.parametrize("value", [None, True, "1", [1.0], math.nan, math.inf, 10**400])
def test_what_cannot_be_reckoned_with_is_no_number(value):
    assert not is_number(value)
    assert is_number(0)
    assert is_number(-1.5)


def test_a_value_is_shown_as_json_and_never_without_end():
    assert shown({"a": None, "b": [True, "\u00e9"]}) == '{"a": null, "b": [true, "\\u00e9"]}'
    assert shown(math.inf) == "Infinity"
    for value in (10**4000, "x" * 9000, ["x"] * 9000, {"x": "y" * 9000}):
        assert len(shown(value)) <= 60
