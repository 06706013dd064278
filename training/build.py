"""What a run is made of, from its recipe: checks, model, loss, collator, arguments, final weights."""

import logging
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codequarry.common.errors import UserError, did_you_mean
from codequarry.data.mixture import column_prompts
from codequarry.recipes.schema import Recipe
from codequarry.training.run_folder import pin_setting

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainingArguments
    from torch import Tensor, nn

    from codequarry.modules.embedder import CodeEmbedder
    from codequarry.modules.losses.contrastive import Objective
    from codequarry.modules.precision import Compute
    from codequarry.training.collator import PairCollator

Weights = dict[str, "Tensor"]

_MODULES = {"tensorboard": ("tensorboard", "tensorboardX"), "trackio": ("trackio",), "wandb": ("wandb",)}

RUN_LOGS = (*_MODULES, "none")


def chosen_logs(named: Sequence[str] = ()) -> tuple[str, ...]:
    """The logs to write: those named; with no name TensorBoard where it is installed; () for `none`.

    Raises UserError for a name that is not one of `RUN_LOGS`, for `none` together with another, and for one
    whose package is missing.
    """
    for name in named:
        if name not in RUN_LOGS:
            hint = did_you_mean(name, RUN_LOGS)
            raise UserError(f"{name!r} is not a log.{hint} Pass some of {', '.join(RUN_LOGS)}.")
        if name != "none" and not _installed(name):
            raise UserError(f"{name} was asked for and is not installed: pip install {name}")
    if "none" in named and len(set(named)) > 1:
        raise UserError(f"none and {', '.join(set(named) - {'none'})} were both asked for: pass one of them.")
    if not named:
        return ("tensorboard",) if _installed("tensorboard") else ()
    return tuple(name for name in _MODULES if name in named)


def _installed(name: str) -> bool:
    return any(find_spec(module) is not None for module in _MODULES[name])


def check_installed(recipe: Recipe) -> None:
    """Raise UserError, with the command to install it, when a package that the recipe needs is missing."""
    needed = ["accelerate", "datasets"]
    if recipe.objective.matching is not None:
        needed.append("pyarrow")
    if recipe.lora is not None:
        needed.append("peft")
    if missing := [name for name in needed if find_spec(name) is None]:
        raise UserError(f"training needs {' and '.join(missing)}: pip install 'codequarry[train]'")


def quiet_other_ranks() -> None:
    """On each machine, let only the first of the ranks that torchrun started there print its warnings.

    All ranks meet the same ones: a token cache that cannot be written, a checkpoint that is damaged. Errors
    are printed by each.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # read when torch is imported
        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")


def check_ranks(recipe: Recipe, ranks: int) -> None:
    """Raise UserError, with a batch size that fits, when the batch cannot be split evenly over the ranks."""
    if recipe.batch_size % ranks:
        raise UserError(
            f"batch_size {recipe.batch_size} cannot be dealt out to {ranks} ranks: "
            f"pass --set batch_size={recipe.batch_size // ranks * ranks}."
        )


def initial_model(recipe: Recipe, lock: Path, out: Path, texts: Iterable[str], device: str) -> "CodeEmbedder":
    """Build the model of a recipe.

    Arguments:
        recipe: says backbone, pooling, projections, length, dimensions and prompts.
        lock: where the commits of Hub backbones are pinned.
        out: the run's folder; random weights are written into it, and read from it the next time.
        texts: what a tokenizer is trained on, where random weights come without one.
        device: as in `SentenceTransformer`.

    Raises UserError when the backbone cannot be found or does not go with the recipe, and for an adapter
    on a model with projections.
    """
    from sentence_transformers.sentence_transformer.modules import Dense

    from codequarry.modules.build import build_model
    from codequarry.modules.precision import stored_weights
    from codequarry.modules.random_backbone import read_tokenizer, train_tokenizer, write_random_backbone

    backbone = recipe.backbone.name
    if recipe.backbone.static is not None:
        from codequarry.training.static_start import write_static_start

        backbone = str(write_static_start(out / "backbone", recipe, texts, device))
    elif recipe.backbone.weights == "random" and recipe.backbone.shape is not None:
        folder, shape = out / "backbone", recipe.backbone.shape
        if not folder.exists():
            known = recipe.backbone.tokenizer
            tokenizer = read_tokenizer(known) if known else train_tokenizer(texts, shape.vocabulary)
            write_random_backbone(folder, shape, tokenizer, seed=recipe.seed, as_bag_of_words=True)
        backbone = str(folder)
    model = build_model(
        backbone,
        pooling=recipe.pooling,
        projections=recipe.projections,
        max_length=recipe.max_length,
        dims=recipe.matryoshka_dims,
        prompts=recipe.prompts,
        layers=recipe.backbone.layers,
        dtype=stored_weights(recipe.weights, recipe.precision, device=device, frozen=recipe.lora is not None),
        revision=recipe.backbone.revision,
        lock=lock,
        device=device,
    )
    if recipe.lora is not None and any(isinstance(module, Dense) for module in model.children()):
        raise UserError(
            f"recipe {recipe.name} has [lora], and its model has Dense layers after the pooling: they are "
            "trained, and the adapter's folder has no place for them. Leave [lora] or the projections out."
        )
    return model


def prepare_model(recipe: Recipe, model: "CodeEmbedder") -> None:
    """Set the dropout of a recipe, and put its adapter onto the backbone where it has one."""
    from torch import nn

    from codequarry.modules.lora_linear import fuse_adapters
    from codequarry.modules.recomputation import recompute_elementwise
    from codequarry.modules.static_embedding import PromptedStaticEmbedding
    from codequarry.training.lora import add_adapter, start_from

    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = recipe.dropout
        elif isinstance(module, PromptedStaticEmbedding):
            module.token_dropout = recipe.dropout
    if recipe.lora is not None:
        settings = asdict(recipe.lora)
        start = settings.pop("start")
        add_adapter(model, **settings)
        if start:
            start_from(model, start)
        recompute_elementwise(model)
        fuse_adapters(model)


def choose_grad_cache_threshold(
    recipe: Recipe, model: "CodeEmbedder", out: Path, precision: "Compute", *, packed: bool
) -> int | None:
    """The tokens of a step from which on gradients are cached: 0 always, None never; see `MiniBatchLoss`.

    Where it depends on free memory, the first value is kept in the run's folder `out`: free memory differs
    when a run is resumed, and the rounding of a step must not.

    Arguments: `packed`, the texts of a batch are in one row without padding.
    """
    from codequarry.modules.losses.grad_cache import tokens_that_fit

    fitting = tokens_that_fit(model, precision, model.device.type, packs=packed, memory_gb=recipe.memory_gb)
    if recipe.memory_gb is None:
        fitting = pin_setting(out, "graph_tokens", fitting)
    return {"on": 0, "auto": fitting, "off": None}[recipe.grad_cache]


def build_loss(recipe: Recipe, model: "CodeEmbedder", grad_cache_threshold: int | None) -> "Objective":
    """The loss that a recipe trains `model` by. Arguments: `grad_cache_threshold`, see `MiniBatchLoss`."""
    from codequarry.modules.losses.contrastive import Objective

    terms = recipe.objective
    return Objective(
        model,
        temperature=recipe.temperature,
        dims=recipe.matryoshka_dims,
        mini_batch_tokens=recipe.mini_batch_tokens,
        grad_cache_threshold=grad_cache_threshold,
        directions=terms.directions,
        partition=terms.partition,
        hardness=terms.hardness,
        hardness_strength=terms.hardness_strength,
        spread_out=terms.spread_out,
        **asdict(terms.false_negatives),
        matching=terms.matching.weight if terms.matching else None,
        final_matching=terms.matching.final_weight if terms.matching else None,
    )


def build_collator(
    model: "CodeEmbedder", datasets: Mapping[str, "Dataset"], prompts: Mapping[str, str], *, packed: bool
) -> "PairCollator":
    """The collator of a run: each column of each `source:task` is tokenised behind its own prompt.

    Arguments:
        prompts: those of the recipe's family, by name.
        packed: the texts of a batch are in one row without padding.
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


def training_arguments(
    recipe: Recipe, out: Path, *, ranks: int, device: str, precision: "Compute", resumes: bool
) -> "SentenceTransformerTrainingArguments":
    """The arguments of the trainer.

    Arguments:
        recipe: says steps, rates, batch size and validation.
        out: the run's folder; checkpoints go into `out/checkpoints`.
        ranks: processes that train together; each gets its part of the batch.
        device: its kind, such as "cpu" or "cuda".
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
        # Collating takes 3 ms of a step of seconds on a CPU, where a worker would occupy a core; of a GPU's
        # step it is a quarter, as long as texts are new to the token cache.
        dataloader_num_workers=1 if device == "cuda" else 0,
        run_name=out.name,
        report_to="none",
        **validation,
    )


def final_weights(
    recipe: Recipe, model: "CodeEmbedder", base: Weights | None, out: Path, *, writes: bool
) -> None:
    """Make a trained model the one that is saved: its adapter merged, the base's share added.

    Arguments:
        base: the weights before training; None adds none of them.
        out: the run's folder; the adapter alone is written into its `adapter/`.
        writes: this rank writes it.
    """
    from codequarry.modules.adapter_folder import AdapterBase, file_of, write_base
    from codequarry.training.lora import merge_adapter, save_adapter

    if recipe.lora is not None:
        if writes:
            backbone, revision = recipe.backbone.name, recipe.backbone.revision
            save_adapter(model, out / "adapter", base=backbone, revision=revision)
            base_record = AdapterBase(
                backbone=backbone,
                revision=revision,
                sha256=file_of(model),
                pooling=recipe.pooling,
                max_length=recipe.max_length or model.max_seq_length or 0,
                dims=recipe.matryoshka_dims,
                prompts=recipe.prompts,
                layers=recipe.backbone.layers,
            )
            write_base(out / "adapter", base_record)
        merge_adapter(model)
    if base is not None:
        average(model, base, recipe.average_with_base)


def float_copy(model: "nn.Module") -> "Weights":
    """A copy of all weights, on the processor."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in _float_weights(model).items()}


def average(model: "nn.Module", base: "Weights", share: float) -> None:
    """Move the weights of `model` towards those of `base`, in place.

        W = (1 - share) · W_trained + share · W_base

    What a base has learned from far more data than a fine-tuning shows it is partly forgotten in training; a
    mean of the two weights keeps much of both (WiSE-FT, arXiv 2109.01903).

    Arguments: `base`, of `float_copy`; `share`, of the base, from 0 (nothing changes) to 1.

    Raises UserError when the two have other weights.
    """
    state = _float_weights(model)
    if state.keys() != base.keys():
        raise UserError(
            f"the model and its base differ in {len(state.keys() ^ base.keys())} of their weights, such as "
            f"{min(state.keys() ^ base.keys())}: average a model with the one it was trained from."
        )
    for name, tensor in state.items():
        tensor.detach().lerp_(base[name].to(tensor), share)


def _float_weights(model: "nn.Module") -> "Weights":
    return {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
