from itertools import product

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import Tensor, nn

from codequarry.modules.losses import DIRECTIONS
from codequarry.modules.losses.info_nce import InfoNCE, false_negative_mask

A, B, C = 1, 2, 3
X, Y, Z, W = 11, 12, 13, 14


def columns(count: int = 3) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(4, 5, dtype=torch.float64, requires_grad=True) for _ in range(count)]


def test_with_nothing_struck_out_it_is_the_stock_loss() -> None:
    for directions, hardness in product((DIRECTIONS[:1], DIRECTIONS), (None, "all_negatives")):
        settings = {"directions": directions, "hardness_mode": hardness, "hardness_strength": 2.0}
        ours = InfoNCE(nn.Identity(), **settings).loss_from_embeddings(columns(), {})
        stock = MultipleNegativesRankingLoss(nn.Identity(), **settings)
        assert ours == stock.compute_loss_from_embeddings(columns(), None)


def test_a_struck_negative_gets_no_gradient_and_its_value_does_not_matter() -> None:
    queries, documents = columns(2)
    loss = InfoNCE(nn.Identity(), hardness_mode="all_negatives", hardness_strength=2.0)
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[[0, 1, 3], 2] = True  # document 2 is a negative of nobody, and pair 2 is a row of its own
    first = loss.loss_from_embeddings([queries, documents], {"query_to_doc": mask})
    first.backward()
    own_row = torch.zeros(4, 4, dtype=torch.bool)
    own_row[2] = torch.tensor([True, True, False, True])
    queries.grad, documents.grad = None, None
    loss.loss_from_embeddings([queries, documents], {"query_to_doc": mask | own_row}).backward()
    assert documents.grad is not None
    assert documents.grad[2].norm() < 1e-12, "alone in its row, and struck out of every other"
    assert queries.grad is not None
    assert queries.grad[2].norm() < 1e-12
    assert torch.isfinite(documents.grad).all()


def test_masks_go_to_the_direction_they_are_named_for() -> None:
    """One entry struck out by name is the entry whose cosine the loss no longer depends on."""
    for name in DIRECTIONS:
        masks = {
            other: torch.zeros(4, 8 if other.endswith("doc") else 4, dtype=torch.bool) for other in DIRECTIONS
        }
        loss = InfoNCE(nn.Identity(), scale=3.0, directions=DIRECTIONS)
        before = loss.loss_from_embeddings(columns(), masks)
        masks[name][1, 2] = True
        after = loss.loss_from_embeddings(columns(), masks)
        queries, documents, negatives = (nn.functional.normalize(column, dim=1) for column in columns())
        side = queries if name.startswith("query") else documents
        others = torch.cat([documents, negatives]) if name.endswith("doc") else queries
        cosine = side[1] @ others[2]
        # Only row 1 changes: its sum of exponentials loses that one.
        row = [
            queries[1] @ torch.cat([documents, negatives]).T,
            queries[1] @ queries[[0, 2, 3]].T,
            documents[1] @ queries.T,
            documents[1] @ torch.cat([documents, negatives])[[0, 2, 3, 4, 6, 7]].T,
        ]
        total = (torch.cat(row) * 3).exp().sum()
        expected = ((total - (cosine * 3).exp()).log() - total.log()) / 4
        torch.testing.assert_close(after - before, expected)


@pytest.mark.parametrize("name", ["query_to_query", "doc_to_doc"])
def test_directions_without_a_right_answer_cannot_stand_alone(name: str) -> None:
    with pytest.raises(ValueError, match="per_direction"):
        InfoNCE(nn.Identity(), directions=("query_to_doc", name), partition_mode="per_direction")


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
