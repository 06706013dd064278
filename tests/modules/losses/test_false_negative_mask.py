import torch
from torch import Tensor

from codequarry.modules.losses import DIRECTIONS
from codequarry.modules.losses.false_negative_mask import false_negative_mask

A, B, C = 1, 2, 3
X, Y, Z, W = 11, 12, 13, 14


def ids(*columns: list[int]) -> list[Tensor]:
    return [torch.tensor(column) for column in columns]


def entries(mask: Tensor) -> set[tuple[int, ...]]:
    return {tuple(entry) for entry in mask.nonzero().tolist()}


def by_text(*columns: list[int], same_query: bool = False, same_document: bool = False) -> dict[str, set]:
    masks = false_negative_mask(
        [],
        ids(*columns),
        directions=DIRECTIONS,
        same_query=same_query,
        same_document=same_document,
        margin=None,
    )
    return {name: entries(mask) for name, mask in masks.items()}


def test_where_no_text_repeats_nothing_is_struck_out() -> None:
    masks = by_text([A, B, C], [X, Y, Z], same_query=True, same_document=True)
    assert masks == {name: set() for name in DIRECTIONS}


def test_documents_of_the_same_query_are_right_for_each_other() -> None:
    masks = by_text([A, B, A], [X, Y, Z], same_query=True)
    assert masks == {name: {(0, 2), (2, 0)} for name in DIRECTIONS}
    assert by_text([A, B, A], [X, Y, Z], same_document=True) == {name: set() for name in DIRECTIONS}


def test_a_document_that_repeats_is_right_for_both_queries() -> None:
    masks = by_text([A, B, C], [X, X, Y], same_document=True)
    assert masks == {name: {(0, 1), (1, 0)} for name in DIRECTIONS}
    assert by_text([A, B, C], [X, X, Y], same_query=True) == {name: set() for name in DIRECTIONS}


def test_a_mined_negative_that_is_someones_right_document_is_struck_out_for_that_one_only() -> None:
    masks = by_text([A, B], [X, Y], [W, X], same_document=True)  # pair 1's negative is pair 0's document
    assert masks["query_to_doc"] == masks["doc_to_doc"] == {(0, 3)}
    assert masks["query_to_query"] == masks["doc_to_query"] == set()


def test_a_mined_negative_of_the_same_query_stays_wrong() -> None:
    masks = by_text([A, A], [X, Y], [Z, W], same_query=True, same_document=True)
    assert masks["query_to_doc"] == {(0, 1), (1, 0)}


def test_what_one_pair_says_holds_for_every_copy_of_its_texts() -> None:
    """Pairs 0 and 1 ask the same; pair 2 has pair 1's document: it is right for pair 0 as well."""
    masks = by_text([A, A, B], [X, Y, Y], same_query=True, same_document=True)
    assert masks["query_to_doc"] == {(0, 1), (0, 2), (1, 0), (1, 2), (2, 1)}
    # The other way round, nothing says that X, pair 0's document, answers B.
    assert masks["doc_to_query"] == {(0, 1), (1, 0), (1, 2), (2, 1), (2, 0)} - {(0, 2)}


def test_the_margin_strikes_out_what_is_nearer_than_the_positive_by_it() -> None:
    angles = torch.tensor([0.0, 0.3, 0.5, 1.5], dtype=torch.float64)
    points = torch.stack([angles.cos(), angles.sin()], dim=1) * 7  # length must not matter
    queries, documents = points[[0, 0]], points[[1, 2]]
    nearer = {"query_to_doc": {(1, 0)}}

    def at(margin: float) -> dict[str, set]:
        masks = false_negative_mask(
            [queries, documents],
            None,
            directions=["query_to_doc"],
            same_query=False,
            same_document=False,
            margin=margin,
        )
        return {name: entries(mask) for name, mask in masks.items()}

    between = float(angles[1].cos() - angles[2].cos())  # query 1's positive is farther than document 0
    assert at(0.0) == nearer
    assert at(-between + 1e-6) == nearer
    assert at(-between - 1e-6) == {"query_to_doc": set()}
    assert at(between + 1e-6) == {"query_to_doc": {(0, 1), (1, 0)}}


def test_a_pairs_own_positive_is_never_struck_out() -> None:
    same = torch.ones(4, 3)
    masks = false_negative_mask(
        [same, same, same],
        ids([A] * 4, [X] * 4, [X] * 4),
        directions=["query_to_doc", "doc_to_query"],
        same_query=True,
        same_document=True,
        margin=0.5,
    )
    for mask in masks.values():
        assert not mask.diagonal().any()
        assert mask.sum() == mask.numel() - 4, "and everything else is"


def test_with_nothing_asked_for_there_is_no_mask() -> None:
    nothing = {"directions": DIRECTIONS, "same_query": False, "same_document": False, "margin": None}
    assert false_negative_mask([], None, **nothing) == {}
