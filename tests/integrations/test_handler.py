"""The Hub's handler gives the model's own vectors, and says what is wrong with a request."""

import ast
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from codequarry.integrations import handler as source
from codequarry.modules.backbone import MINI_FOLDER
from codequarry.modules.tasks import CODE, SIDES, TASKS

TEXTS = ["parse a date", "def f(x):\r\n\treturn x\n"]
QUERY = {"task": "nl2code", "side": "query"}


@pytest.fixture(scope="module")
def handler(tmp_path_factory):
    """Loaded as the Hub's toolkit does: a file by its path, a class by its name, the folder as a string."""
    copied = tmp_path_factory.mktemp("endpoint") / "handler.py"
    copied.write_bytes(Path(source.__file__).read_bytes())
    spec = importlib.util.spec_from_file_location("handler", copied)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EndpointHandler(str(MINI_FOLDER))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("task", TASKS)
def test_vectors_equal_the_models_own(handler, mini, task, side):
    vectors = handler({"inputs": TEXTS, "parameters": {"task": task, "side": side}})
    encode = mini.encode_query if side == "query" else mini.encode_document
    assert np.abs(np.array(vectors) - encode(TEXTS, task=task)).max() < 1e-6


def test_every_dimension_equals_the_models_own(handler, mini):
    for dims in mini.matryoshka_dims:
        vectors = handler({"inputs": TEXTS, "parameters": QUERY | {"dims": dims}})
        own = mini.encode_query(TEXTS, task="nl2code", truncate_dim=dims)
        assert np.abs(np.array(vectors) - own).max() < 1e-6


def test_without_normalising_a_cut_vector_is_the_first_numbers_of_the_full_one(handler):
    full = handler({"inputs": TEXTS, "parameters": QUERY})
    cut = handler({"inputs": TEXTS, "parameters": QUERY | {"dims": 64, "normalise": False}})
    np.testing.assert_allclose(cut, [row[:64] for row in full], atol=1e-6)


def test_one_text_gives_a_list_of_one_vector(handler):
    (vector,) = handler({"inputs": "parse a date", "parameters": QUERY})
    assert len(vector) == 384


def test_the_hubs_own_client_is_understood_in_its_spelling(handler):
    """The body that `InferenceClient.feature_extraction` sends: its parameters stand beside `inputs`."""
    from huggingface_hub.inference._providers.hf_inference import HFInferenceFeatureExtractionTask

    asked = {"normalize": True, "prompt_name": "nl2code_query", "dimensions": 64, "truncate": None}
    body = HFInferenceFeatureExtractionTask()._prepare_payload_as_dict(TEXTS, asked, None)
    expected = handler({"inputs": TEXTS, "parameters": QUERY | {"dims": 64}})
    np.testing.assert_allclose(handler(body), expected, atol=1e-6)


def test_half_a_surrogate_pair_is_embedded_as_a_replacement_character(handler):
    (half,) = handler({"inputs": "x = '\ud83d'", "parameters": QUERY})
    (replaced,) = handler({"inputs": "x = '\ufffd'", "parameters": QUERY})
    assert half == replaced


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "inputs is null; it has to be a text or a list of texts"),
        ({"inputs": []}, "inputs holds 0 texts; a request takes 1 to 256"),
        ({"inputs": ["x"] * 257}, "inputs holds 257 texts"),
        ({"inputs": ["a", 3]}, "text 2 of 2 is of type int, not a text"),
        ({"inputs": ["a", " "]}, "text 2 of 2 is empty"),
        ({"inputs": "x" * 100_001}, "has 100001 characters; at most 100000"),
        ({"inputs": "x", "parameters": {}}, "parameters lack task and side"),
        ({"inputs": "x", "parameters": {"task": "qa"}}, "parameters lack side"),
        (
            {"inputs": "x", "parameters": {"task": "search", "side": "query"}},
            f"'search' is not a task. The tasks are {', '.join(TASKS)}.",
        ),
        ({"inputs": "x", "parameters": {"task": "qa", "side": "doc"}}, "'doc' is not a side of a task"),
        ({"inputs": "x", "parameters": {"prompt_name": "qa"}}, "'qa' is none of this model's"),
        ({"inputs": "x", "parameters": QUERY | {"prompt_name": "qa_query"}}, "not both"),
        ({"inputs": "x", "parameters": QUERY | {"dims": 100}}, "dims 100 is not among the trained"),
        ({"inputs": "x", "parameters": QUERY | {"dims": True}}, "dims True is not among"),
        ({"inputs": "x", "parameters": QUERY | {"normalise": "yes"}}, "normalise is 'yes': pass true"),
        ({"inputs": "x", "parameters": QUERY | {"sides": 1}}, "'sides' is not a parameter"),
        ({"inputs": "x", "dimensions": 64, "parameters": QUERY | {"dims": 32}}, "dims was given twice"),
        ({"inputs": "x", "parameters": ["qa"]}, "parameters is of type list"),
    ],
)
def test_a_wrong_request_is_a_sentence(handler, body, sentence):
    body = {"parameters": QUERY} | body
    with pytest.raises(ValueError, match=re.escape(sentence)):
        handler(body)


def test_a_text_that_may_not_be_cut_is_refused_with_its_length(handler):
    from tokenizers import Tokenizer

    text = "total = sum(values)\n" * 80
    whole = Tokenizer.from_file(str(MINI_FOLDER / "tokenizer.json")).encode(
        CODE.prompts()["nl2code_query"] + text
    )
    sentence = f"text 2 of 2 has {len(whole.ids)} tokens with its prompt; this model reads 256"
    with pytest.raises(ValueError, match=sentence):
        handler({"inputs": ["short", text], "parameters": QUERY | {"truncate": False}})
    assert len(handler({"inputs": ["short"], "parameters": QUERY | {"truncate": False}})) == 1


def test_the_tasks_are_ours(handler):
    assert handler.tasks == list(TASKS)
    assert handler.model.prompts == CODE.prompts()


def test_it_imports_sentence_transformers_numpy_and_the_standard_library_alone():
    tree = ast.parse(Path(source.__file__).read_text(encoding="utf-8"))
    plain = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    from_ = {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    packages = {name.partition(".")[0] for name in plain | from_}
    assert packages - sys.stdlib_module_names == {"numpy", "sentence_transformers"}
