import pytest
import torch

from codequarry.modules.finite_steps import FiniteSteps, NotFiniteError, check_weights

FINE = torch.tensor(1.0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", ["loss", "length"])
def test_a_bad_loss_or_gradient_is_refused_at_once_by_its_step(bad: float, where: str) -> None:
    steps = FiniteSteps(at_once=True)
    steps.see(1, FINE, FINE)
    with pytest.raises(NotFiniteError, match="step 2 is infinite or not a number"):
        steps.see(2, **({"loss": FINE, "length": FINE} | {where: torch.tensor(bad)}))


def test_a_gpu_notes_the_first_bad_step_until_somebody_looks() -> None:
    steps = FiniteSteps(at_once=False)
    for step, loss in enumerate((1.0, torch.nan, 1.0, torch.inf), start=1):
        steps.see(step, torch.tensor(loss), FINE)
    with pytest.raises(NotFiniteError, match="step 2 "):
        steps.check()
    steps.see(5, FINE, FINE)
    steps.check()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_one_bad_weight_among_many_is_found(bad: float) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    check_weights(model, 7)
    with torch.no_grad():
        model[1].weight[1, 2] = bad
    with pytest.raises(NotFiniteError, match="after step 7 a weight is infinite or not a number"):
        check_weights(model, 7)
