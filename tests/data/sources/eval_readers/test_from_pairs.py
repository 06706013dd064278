from codequarry.data.sources.eval_readers.from_pairs import set_of_pairs


def test_equal_texts_become_one_and_every_pair_a_judgment() -> None:
    found = set_of_pairs(
        "small", "nl2code", [("add", "a + b", "python"), ("sum", "a + b", "go"), ("add", "b + a", "go")]
    )
    assert found.queries == {"q0": "add", "q1": "sum"}
    assert found.documents == {"d0": "a + b", "d1": "b + a"}
    assert found.relevant == {"q0": {"d0": 1, "d1": 1}, "q1": {"d0": 1}}
    assert found.languages == {"q0": "python", "q1": "go"}


def test_documents_given_beside_the_pairs_are_numbered_first() -> None:
    found = set_of_pairs("small", "nl2code", [("add", "a + b", "")], documents=["a - b", "a + b", "a - b"])
    assert found.documents == {"d0": "a - b", "d1": "a + b"}
    assert found.relevant == {"q0": {"d1": 1}}
    assert found.languages == {}
