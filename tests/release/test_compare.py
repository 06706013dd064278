import numpy as np
import pytest

from codequarry.release.compare import distances

KINDS = ["ordinary", "ordinary", "special_tokens"]


@pytest.fixture
def golden():
    vectors = np.random.default_rng(0).normal(size=(3, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [{"kind": kind, "text": f"text {n}", "vector": list(vectors[n])} for n, kind in enumerate(KINDS)]
    return {"dims": [8, 4], "rows": rows}


def whole(golden):
    return np.array([row["vector"] for row in golden["rows"]])


def test_the_golden_vectors_are_no_distance_from_themselves_in_any_dimension(golden):
    found = distances(golden, {"float32 left 16 8": whole(golden).astype(np.float32)})
    assert {(one.kind, one.dim) for one in found} == {
        (kind, dim) for kind in ("ordinary", "special_tokens") for dim in (8, 4)
    }
    assert max(one.absolute_difference for one in found) < 1e-7
    assert min(one.cosine for one in found) > 1 - 1e-7
    assert str(found[0]) == "float32, ordinary texts, dim 8, batch 16, padded left"


def test_the_worst_text_of_a_kind_is_found(golden):
    vectors = whole(golden)
    vectors[1, 0] += 0.1
    vectors[2, 5] -= 0.3
    found = {(one.kind, one.dim): one for one in distances(golden, {"float32 right 1 8": vectors})}
    assert found["ordinary", 8].absolute_difference == pytest.approx(0.1)
    assert found["ordinary", 8].text == "text 1"
    assert found["special_tokens", 8].absolute_difference == pytest.approx(0.3)
    assert found["special_tokens", 4].absolute_difference < 1e-7  # the sixth number is cut away


def test_a_runtime_that_cuts_by_itself_is_held_to_its_own_cut(golden):
    """Stock sentence-transformers may cut after it has normalised; a vector so cut is a miss."""
    cut = whole(golden)[:, :4]
    found = distances(golden, {"float32 right 16 8": whole(golden), "float32 right 16 4": cut})
    assert [one.dim for one in found] == [8, 8, 4, 4]
    assert found[2].absolute_difference > 0.01
    assert found[2].cosine == pytest.approx(1)


def test_a_vector_of_nan_is_the_worst_there_is(golden):
    vectors = whole(golden)
    vectors[0] += 0.5
    vectors[1] = np.nan
    found = distances(golden, {"float32 right 1 8": vectors})[0]
    assert np.isnan(found.absolute_difference)
    assert np.isnan(found.cosine)
    assert found.text == "text 1"


def test_a_pass_without_a_vector_for_each_text_is_refused(golden):
    with pytest.raises(ValueError, match=r"has the shape \(2, 8\); there are 3 golden texts"):
        distances(golden, {"float32 right 1 8": whole(golden)[:2]})
