from itertools import product

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import Tensor, nn

from codequarry.modules.losses import DIRECTIONS
from codequarry.modules.losses.info_nce import InfoNCE


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
