"""What the trainer is given for a recipe: checks of the machine, its arguments, its collator."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codequarry.common.errors import did_you_mean
from codequarry.data.mixture import column_prompts
from codequarry.recipes.schema import Recipe

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainingArguments

    from codequarry.modules.embedder import CodeEmbedder
    from codequarry.modules.precision import Compute
    from codequarry.training.collator import PairCollator


_MODULES = {"tensorboard": ("tensorboard", "tensorboardX"), "trackio": ("trackio",), "wandb": ("wandb",)}

RUN_LOGS = (*_MODULES, "none")


def chosen_logs(named: Sequence[str] = ()) -> tuple[str, ...]:
    """The logs to write: those named; with no name TensorBoard where it is installed; () for `none`.

    Raises ValueError for a name that is not one of `RUN_LOGS`, for `none` beside another, and for one whose
    package is missing.
    """
    for name in named:
        if name not in RUN_LOGS:
            raise ValueError(
                f"{name!r} is not a log.{did_you_mean(name, RUN_LOGS)} Pass some of {', '.join(RUN_LOGS)}."
            )
        if name != "none" and not _installed(name):
            raise ValueError(f"{name} was asked for and is not installed: pip install {name}")
    if "none" in named and len(set(named)) > 1:
        raise ValueError(
            f"none and {', '.join(set(named) - {'none'})} were both asked for: pass one of them."
        )
    if not named:
        return ("tensorboard",) if _installed("tensorboard") else ()
    return tuple(name for name in _MODULES if name in named)


def _installed(name: str) -> bool:
    return any(find_spec(module) is not None for module in _MODULES[name])


def check_installed(recipe: Recipe) -> None:
    """Raise ValueError, with the command to install it, when a package that the recipe needs is missing."""
    needed = ["accelerate", "datasets"]
    if recipe.objective.matching is not None:
        needed.append("pyarrow")
    if recipe.lora is not None:
        needed.append("peft")
    if missing := [name for name in needed if find_spec(name) is None]:
        raise ValueError(f"training needs {' and '.join(missing)}: pip install 'codequarry[train]'")


def check_ranks(recipe: Recipe, ranks: int) -> None:
    """Raise ValueError, with a batch size that fits, when the batch cannot be split evenly over the ranks."""
    if recipe.batch_size % ranks:
        raise ValueError(
            f"batch_size {recipe.batch_size} cannot be dealt out to {ranks} ranks: "
            f"pass --set batch_size={recipe.batch_size // ranks * ranks}."
        )


def training_arguments(
    recipe: Recipe, out: Path, *, ranks: int, device: str, precision: "Compute", resumes: bool
) -> "SentenceTransformerTrainingArguments":
    """The arguments of the trainer.

    Arguments:
        recipe: says steps, rates, batch size and validation.
        out: the run's folder; checkpoints go into `out/checkpoints`.
        ranks: processes that train together; each gets its part of the batch.
        device: "cpu" or "cuda".
        precision: of a step; "fp32" is neither bf16 nor fp16.
        resumes: the run starts from a checkpoint, so it is not validated before the first step.
    """
    from sentence_transformers import SentenceTransformerTrainingArguments

    validation: dict[str, Any] = {}
    if recipe.validation is not None:
        validation = {
            "eval_strategy": "steps",
            "eval_on_start": not resumes and recipe.validation.on_start,
            "eval_steps": recipe.validation.every_steps,
            "load_best_model_at_end": recipe.validation.keep == "best",
            "metric_for_best_model": recipe.validation.metric,
            "greater_is_better": True,
            "restore_callback_states_from_checkpoint": True,
        }
    return SentenceTransformerTrainingArguments(
        output_dir=str(out / "checkpoints"),
        max_steps=recipe.max_steps,
        per_device_train_batch_size=recipe.batch_size // ranks,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.scheduler,
        lr_scheduler_kwargs=recipe.scheduler_arguments,
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        optim="adamw_torch_fused",
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        dataloader_drop_last=True,
        save_steps=recipe.save_steps,
        save_total_limit=2,  # one to resume from while the next is being written
        logging_steps=recipe.logging_steps,
        seed=recipe.seed,
        use_cpu=device == "cpu",
        # Collating takes 3 ms of a step of seconds on a CPU, where a worker would take a core from it; of a
        # GPU's step it is a quarter, as long as texts are new to the token cache.
        dataloader_num_workers=1 if device == "cuda" else 0,
        run_name=out.name,
        report_to="none",
        **validation,
    )


def build_collator(
    model: "CodeEmbedder", datasets: Mapping[str, "Dataset"], prompts: Mapping[str, str], *, packed: bool
) -> "PairCollator":
    """The collator of a run: each column of each `source:task` is tokenised behind its own prompt.

    Arguments:
        prompts: those of the recipe's family, by name.
        packed: the texts of a batch stand in one row without padding.
    """
    from codequarry.modules.packing import position_offset
    from codequarry.training.collator import PairCollator
    from codequarry.training.token_cache import TokenCache

    return PairCollator(
        TokenCache(model[0]),  # type: ignore[arg-type]
        {name: column_prompts(prompts, name, dataset.column_names) for name, dataset in datasets.items()},
        packed=packed,
        pad_id=model.tokenizer.pad_token_id,
        position_offset=position_offset(model),
    )
