"""Which prompt a text gets: the named one, its own, none by request, and never two."""

import pytest

from codequarry.integrations.serve.prompts import split_prompt, with_prompts
from codequarry.integrations.serve.requests import Limits, Prompted, RequestContext, RequestError
from codequarry.modules.tasks import CODE, FAMILIES

PROMPTS = CODE.prompts()
DOCUMENT, QUERY = PROMPTS["nl2code_document"], PROMPTS["nl2code_query"]


@pytest.fixture
def prompted(served):
    def call(*texts, name=None, raw=None, default=None):
        context = RequestContext(served, Limits(), default)
        return with_prompts(texts, name, raw, context, field="inputs", how="name it.")

    return call


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("blank", ["\n", " ", "\t", "\r\n", "\N{NO-BREAK SPACE}"])
def test_a_text_that_brings_its_prompt_gets_no_second_one(prompted, name, blank):
    prompt = PROMPTS[name]
    sent = prompt.rstrip() + blank + "  def f(): pass"
    placed = ((Prompted(prompt, "  def f(): pass"),), 1)
    for options in ({}, {"name": name}, {"name": ""}, {"default": "qa_query"}):
        assert prompted(sent, **options) == placed


def test_texts_with_and_without_a_prompt_may_share_a_request_that_names_it(prompted):
    texts, as_sent = prompted(DOCUMENT + "a", "b", name="code2code_document")  # the same words as nl2code's
    assert [one.whole for one in texts] == [DOCUMENT + "a", DOCUMENT + "b"]
    assert as_sent == 1


def test_another_prompt_than_the_named_one_is_refused_and_not_chosen_between(prompted):
    with pytest.raises(
        RequestError, match="text 2 of 2 begins with the prompt nl2code_document, and the req"
    ):
        prompted("a", DOCUMENT + "b", name="nl2code_query")


def test_the_text_counts_more_than_the_servers_default(prompted):
    (placed,), _ = prompted(DOCUMENT + "a", default="nl2code_query")
    assert placed.whole == DOCUMENT + "a"


@pytest.mark.parametrize("text", ["a", DOCUMENT + "a", "  " + DOCUMENT])
def test_raw_is_what_was_sent_and_its_opposite_puts_the_prompt_before_everything(prompted, text):
    (placed,), as_sent = prompted(text, raw=True, default="nl2code_query")
    assert (placed.whole, as_sent) == (text, 0)
    (placed,), as_sent = prompted(text, raw=False, name="nl2code_query")
    assert (placed.whole, as_sent) == (QUERY + text, 0)


def test_raw_with_a_prompt_is_a_contradiction(prompted):
    with pytest.raises(
        RequestError, match="raw is true, so no prompt is put in front, and qa_query is named"
    ):
        prompted("a", name="qa_query", raw=True)


@pytest.mark.parametrize("options", [{}, {"name": ""}, {"raw": False}, {"name": "", "default": "qa_query"}])
def test_a_text_without_any_prompt_is_refused(prompted, options):
    with pytest.raises(
        RequestError, match=r"no prompt.*name it\. raw: true embeds texts as they are"
    ) as error:
        prompted(DOCUMENT + "a", "b", **options)
    assert error.value.status == 422


@pytest.mark.parametrize(
    "text",
    [
        "Candidate code snippets: a",
        "candidate code snippet:\na",
        "\n" + DOCUMENT + "a",
        "Candidate code",
        "a",
    ],
)
def test_what_only_resembles_a_prompt_is_a_text(text):
    assert split_prompt(text, PROMPTS) is None


def test_a_prompt_alone_is_an_empty_text():
    assert split_prompt(DOCUMENT, PROMPTS) == Prompted(DOCUMENT, "")
    assert split_prompt(DOCUMENT.rstrip(), PROMPTS) == Prompted(DOCUMENT, "")


def test_the_longest_prompt_is_found_and_an_empty_one_never():
    prompts = {"short": "query: ", "none": "", "long": "query: code: "}
    assert split_prompt("query: code: x", prompts) == Prompted("query: code: ", "x")
    assert split_prompt("query: x", prompts) == Prompted("query: ", "x")
    assert split_prompt("x", prompts) is None
    assert split_prompt("query: code: x", prompts, first="short") == Prompted("query: ", "code: x")


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_every_prompt_of_every_family_is_found_again(family):
    prompts = family.prompts()
    for name, prompt in prompts.items():
        if prompt.strip():
            assert split_prompt(prompt + "x y", prompts, first=name) == Prompted(prompt, "x y")
