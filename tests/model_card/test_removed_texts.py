from codequarry.data.cleaning.decontamination import LOOKS
from codequarry.model_card.removed_texts import by_evaluation_set, by_reason, languages_of


def test_a_set_from_which_nothing_was_taken_says_none(report):
    assert by_evaluation_set(report) == [
        ["evaluation set", "texts", "same text"],
        ["conala", "962", "55"],
        ["docs_qa", "4,154", "none"],
    ]


def test_every_way_of_looking_loses_its_first_word(report):
    report["eval_sets"]["conala"]["removed"] = dict.fromkeys(LOOKS, 1)
    head = by_evaluation_set(report)[0]
    assert len(head) == 2 + len(LOOKS)
    assert not any("evaluation:" in name for name in head)


def test_reasons_keep_the_order_of_the_report(report):
    assert by_reason(report)[1:] == [["too long", "178"], ["evaluation: same text", "55"]]


def test_common_languages_are_named_and_the_rest_is_not_hidden(report):
    assert languages_of(report) == "python 1,201, go 343"
    assert languages_of(report, most=1) == "python 1,201, and others"
    assert languages_of(None) == languages_of({}) == ""
