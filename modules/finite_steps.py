"""No step that is not a number gets into the weights, and no such weights into a checkpoint."""

import torch
from torch import Tensor, nn


class NotFiniteError(ValueError):
    """A loss, a gradient or a weight is infinite or not a number."""


class FiniteSteps:
    """Looks at the loss and the gradient's length of every step, before the optimiser does.

    On a processor a bad step is refused before it is applied. On a GPU that look would make the processor
    wait for every step, with nothing queued behind it; so the first bad step is noted on the GPU, and
    `check` reads the note when the loss is logged anyway and before anything is saved. Steps in between are
    lost, never kept.

    at_once: refuse a bad step when it is seen, not at the next `check`.
    """

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once
        self._first_bad: Tensor | None = None  # optimiser step, 0 for none; on the loss's device

    def see(self, step: int, loss: Tensor, length: Tensor) -> None:
        """Look at one step.

        Arguments: `loss` and `length` of the whole gradient, each a number on the same device. A gradient
        with one bad number has a bad length.

        Raises NotFiniteError when told to refuse at once.
        """
        if self._first_bad is None:
            self._first_bad = torch.zeros((), dtype=torch.int64, device=loss.device)
        bad = ~(torch.isfinite(loss.detach()) & torch.isfinite(length))
        self._first_bad = torch.where(bad & (self._first_bad == 0), step, self._first_bad)
        if self.at_once:
            self.check()

    def check(self) -> None:
        """Raise NotFiniteError when any step seen was bad, with the first."""
        if self._first_bad is not None and (step := int(self._first_bad)):
            self._first_bad = None
            raise NotFiniteError(f"the loss or the gradient of step {step} is infinite or not a number")


def check_weights(model: nn.Module, step: int) -> None:
    """Raise NotFiniteError when any weight is infinite or not a number after `step`.

    The largest absolute number of all weights is read, which makes a GPU wait once.
    """
    largest = nn.utils.get_total_norm(list(model.parameters()), norm_type=torch.inf)
    if not torch.isfinite(largest):
        raise NotFiniteError(f"after step {step} a weight is infinite or not a number")
