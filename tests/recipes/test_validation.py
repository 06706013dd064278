import pytest

from codequarry.recipes.validation import Validation


def test_the_defaults_stand() -> None:
    Validation().check(save_steps=100, matryoshka_dims=(384, 128))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"every_steps": 0}, "every_steps = 0: at least 1"),
        ({"patience": 0}, "patience = 0: at least 1"),
        ({"share": 1.0}, "above 0 and below 1"),
        ({"metric": "nl2cod_ndcg@10"}, "did you mean 'nl2code_ndcg@10'?"),
        ({"metric": "mean_64_ndcg@10", "dims": (128,)}, "with dims = [128]: did you mean"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^validation: ") as error:
        Validation(**fields)  # type: ignore[arg-type]
    assert sentence in str(error.value)


def test_any_score_that_will_be_there_may_decide() -> None:
    assert Validation(metric="qa_ndcg@10").metric == "qa_ndcg@10"
    assert Validation(metric="mean_128_ndcg@10", dims=(128,)).dims == (128,)


def test_checkpoints_between_validations_are_refused_with_a_number_that_works() -> None:
    with pytest.raises(ValueError, match="--set save_steps=120"):
        Validation(every_steps=40).check(save_steps=100, matryoshka_dims=(384,))
    Validation(every_steps=40).check(save_steps=120, matryoshka_dims=(384,))


def test_a_run_that_keeps_its_last_checkpoint_may_save_at_any_step() -> None:
    Validation(every_steps=100, keep="last").check(save_steps=10, matryoshka_dims=(384,))
    with pytest.raises(ValueError, match="patience = 3 with keep = 'last'"):
        Validation(keep="last", patience=3)


def test_a_dimension_that_does_not_train_is_refused() -> None:
    with pytest.raises(ValueError, match="has 100, which is not among"):
        Validation(dims=(128, 100)).check(save_steps=100, matryoshka_dims=(384, 128))
