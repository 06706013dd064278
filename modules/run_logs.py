"""Where the numbers of a run go besides the terminal: TensorBoard, trackio, Weights & Biases.

transformers by itself logs to whatever is installed, and some of that uploads. Here only TensorBoard, which
writes files beside the model, is used without being asked for.
"""

import difflib
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import TrainerCallback

_MODULES = {"tensorboard": ("tensorboard", "tensorboardX"), "trackio": ("trackio",), "wandb": ("wandb",)}
RUN_LOGS = (*_MODULES, "none")


def chosen_logs(named: Sequence[str] = ()) -> tuple[str, ...]:
    """The logs to write: those named; with no name TensorBoard where it is installed; () for `none`.

    Raises ValueError for a name that is not one of `RUN_LOGS`, for `none` beside another, and for one whose
    package is missing.
    """
    for name in named:
        if name not in RUN_LOGS:
            near = difflib.get_close_matches(name, RUN_LOGS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"{name!r} is not a log: {hint}Pass some of {', '.join(RUN_LOGS)}.")
        if name != "none" and not _installed(name):
            raise ValueError(f"{name} was asked for and is not installed: pip install {name}")
    if "none" in named and len(set(named)) > 1:
        raise ValueError(
            f"none and {', '.join(set(named) - {'none'})} were both asked for: pass one of them."
        )
    if not named:
        return ("tensorboard",) if _installed("tensorboard") else ()
    return tuple(name for name in _MODULES if name in named)


def log_callbacks(names: Sequence[str], out: Path) -> "list[TrainerCallback]":
    """transformers' callbacks for those logs; pass them to the trainer, with `report_to="none"`.

    Arguments: `names` from `chosen_logs`; `out`, the run's folder, where TensorBoard's files go into
    `tensorboard/`. The other two call the run by the training arguments' `run_name` and put it under the
    project `codequarry`, unless their environment variables say otherwise.
    """
    from transformers.integrations.integration_utils import TrackioCallback, WandbCallback

    from codequarry.modules.tensorboard_log import TensorBoardLog

    callbacks: list[TrainerCallback] = []
    for name in names:
        if name == "tensorboard":
            callbacks.append(TensorBoardLog(out / "tensorboard"))
            continue
        os.environ.setdefault(f"{name.upper()}_PROJECT", "codequarry")
        callbacks.append(WandbCallback() if name == "wandb" else TrackioCallback())
    return callbacks


def _installed(name: str) -> bool:
    return any(find_spec(module) is not None for module in _MODULES[name])
