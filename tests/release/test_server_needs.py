"""Every field that servers need is there, and named with the server when it is not."""

import json
from pathlib import Path

import pytest

import codequarry
from codequarry.release.server_needs import NEEDS, unmet_needs

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
    expected = f'{need.file} has {need.field} ["nothing", "of this kind"], not {need.wanted}: {need.reason}.'
    if need.field != "model_type":  # without one, no family is asked for more
        assert problems == [expected]
    assert expected in problems


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: f"{need.field}-{len(need.families)}")
def test_a_field_that_is_absent_is_named_unless_servers_have_a_default(built, need):
    files = fields(MINI if need.families == ("bert",) else built)
    files[need.file].pop(need.field, None)
    problems = unmet_needs(files)
    if need.fits(None):
        assert problems == []
    else:
        assert any(f"{need.file} has {need.field} null" in problem for problem in problems)


def test_it_is_said_which_server_needs_it():
    for need in NEEDS:
        assert any(name in need.reason for name in ("text-embeddings-inference", "vLLM", "the prompt")), need
