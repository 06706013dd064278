import pytest

from codequarry.data.pair import Pair

GOOD = {
    "task": "nl2code",
    "query": "add two numbers",
    "document": "a + b",
    "source": "here",
    "language": "python",
}


def test_a_pair_survives_its_record():
    for record in (GOOD, GOOD | {"negatives": ["a - b", "a * b"]}):
        assert Pair.from_record(record).to_record() == record


def test_a_pair_without_negatives_writes_none():
    assert "negatives" not in Pair(**GOOD).to_record()


def test_an_unknown_task_is_answered_with_the_nearest_one():
    with pytest.raises(ValueError, match="Did you mean 'nl2code'"):
        Pair(**GOOD | {"task": "nl2cod"})


@pytest.mark.parametrize("field", ["task", "query", "document", "source", "language"])
@pytest.mark.parametrize(("bad", "said"), [("", "blank"), (" \n", "blank"), (None, "NoneType"), (7, "int")])
def test_every_text_must_be_a_string_that_says_something(field, bad, said):
    with pytest.raises(ValueError, match=f"'{field}' .*{said}"):
        Pair(**GOOD | {field: bad})


@pytest.mark.parametrize("field", GOOD)
def test_a_missing_field_is_named(field):
    with pytest.raises(ValueError, match=f"lacks {field}"):
        Pair.from_record({name: text for name, text in GOOD.items() if name != field})


def test_an_unknown_field_is_answered_with_the_nearest_one():
    with pytest.raises(ValueError, match=r"'negative' is not a field.*Did you mean 'negatives'"):
        Pair.from_record(GOOD | {"negative": []})


@pytest.mark.parametrize("bad", ["a - b", 3, {"a": 1}, ["fine", ""], ["fine", 3]])
def test_negatives_are_a_list_of_texts(bad):
    with pytest.raises(ValueError, match="negatives"):
        Pair.from_record(GOOD | {"negatives": bad})


@pytest.mark.parametrize("absent", [None, [], [None], [None, None]])
def test_negatives_that_are_null_are_absent(absent):
    assert Pair.from_record(GOOD | {"negatives": absent}).negatives == ()
    assert Pair.from_record(GOOD | {"negatives": [None, "a - b", None]}).negatives == ("a - b",)


@pytest.mark.parametrize("bad", [[], "text", 3, None])
def test_a_record_that_is_no_object_is_refused(bad):
    with pytest.raises(ValueError, match="expected an object"):
        Pair.from_record(bad)


def test_half_a_surrogate_pair_is_refused_before_a_tokenizer_meets_it():
    with pytest.raises(ValueError, match="surrogate pair at character 2"):
        Pair(**GOOD | {"query": "ab\ud800"})
