"""What a recipe makes of a model: the one a run starts from, its loss, and the one that is saved."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codequarry.recipes.schema import Recipe
from codequarry.training.run_folder import pin_setting

if TYPE_CHECKING:
    from codequarry.modules.adapter_folder import AdapterBase
    from codequarry.modules.embedder import CodeEmbedder
    from codequarry.modules.losses.contrastive import Objective
    from codequarry.modules.precision import Compute


def initial_model(recipe: Recipe, lock: Path, out: Path, texts: Iterable[str], device: str) -> "CodeEmbedder":
    """Build the model of a recipe.

    Arguments:
        recipe: says backbone, pooling, projections, length, dimensions and prompts.
        lock: where the commits of Hub backbones are pinned.
        out: the run's folder; random weights are written into it, and read from it the next time.
        texts: what a tokenizer is trained on, where random weights come without one.
        device: as in `SentenceTransformer`.

    Raises ValueError when the backbone cannot be found or does not go with the recipe, and for an adapter
    on a model with projections.
    """
    from sentence_transformers.sentence_transformer.modules import Dense

    from codequarry.modules.build import build_model
    from codequarry.modules.precision import stored_weights
    from codequarry.modules.random_backbone import read_tokenizer, train_tokenizer, write_random_backbone

    backbone = recipe.backbone.name
    if recipe.backbone.weights == "random" and recipe.backbone.shape is not None:
        folder = out / "backbone"
        if not folder.exists():
            tokenizer = (
                read_tokenizer(recipe.backbone.tokenizer)
                if recipe.backbone.tokenizer
                else train_tokenizer(texts, recipe.backbone.shape.vocabulary)
            )
            write_random_backbone(
                folder, recipe.backbone.shape, tokenizer, seed=recipe.seed, as_bag_of_words=True
            )
        backbone = str(folder)
    model = build_model(
        backbone,
        pooling=recipe.pooling,
        projections=recipe.projections,
        max_length=recipe.max_length,
        dims=recipe.matryoshka_dims,
        prompts=recipe.prompts,
        dtype=stored_weights(recipe.weights, recipe.precision, device=device, frozen=recipe.lora is not None),
        revision=recipe.backbone.revision,
        lock=lock,
        device=device,
    )
    if recipe.lora is not None and any(isinstance(module, Dense) for module in model.children()):
        raise ValueError(
            f"recipe {recipe.name} has [lora], and its model has Dense layers after the pooling: they are "
            "trained, and the adapter's folder has no place for them. Leave [lora] or the projections out."
        )
    return model


def prepare_model(recipe: Recipe, model: "CodeEmbedder") -> None:
    """Set the dropout of a recipe, and put its adapter onto the backbone where it has one."""
    from torch import nn

    from codequarry.modules.lora_linear import fuse_adapters
    from codequarry.modules.recomputation import recompute_elementwise
    from codequarry.training.lora import add_adapter

    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = recipe.dropout
    if recipe.lora is not None:
        add_adapter(model, **asdict(recipe.lora))
        recompute_elementwise(model)
        fuse_adapters(model)


def choose_grad_cache_threshold(
    recipe: Recipe, model: "CodeEmbedder", out: Path, precision: "Compute", *, packed: bool
) -> int | None:
    """The tokens of a step from which on gradients are cached: 0 always, None never; see `MiniBatchLoss`.

    Where the recipe leaves it to the memory that is free, the number found first is kept in the run's folder
    `out`: free memory differs from one sitting of a run to the next, and what a step rounds must not.

    Arguments: `packed`, the texts of a batch stand in one row without padding.
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
        same_query=terms.false_negatives.same_query,
        same_document=terms.false_negatives.same_document,
        margin=terms.false_negatives.margin,
        matching=terms.matching.weight if terms.matching else None,
        final_matching=terms.matching.final_weight if terms.matching else None,
    )


def adapter_base(recipe: Recipe, model: "CodeEmbedder") -> "AdapterBase":
    """What the adapter of a run of `recipe` belongs to, for `write_base`."""
    from codequarry.modules.adapter_folder import AdapterBase, file_of

    return AdapterBase(
        backbone=recipe.backbone.name,
        revision=recipe.backbone.revision,
        sha256=file_of(model),
        pooling=recipe.pooling,
        max_length=recipe.max_length,
        dims=recipe.matryoshka_dims,
        prompts=recipe.prompts,
    )


def final_weights(
    recipe: Recipe, model: "CodeEmbedder", base: dict[str, Any] | None, out: Path, *, writes: bool
) -> None:
    """Make a trained model the one that is saved: its adapter merged, the base's share added.

    Arguments:
        base: the weights before training; None adds none of them.
        out: the run's folder, which gets the adapter by itself as `adapter/`.
        writes: this rank writes it.
    """
    from codequarry.modules.adapter_folder import write_base
    from codequarry.training.lora import merge_adapter, save_adapter
    from codequarry.training.weight_averaging import average

    if recipe.lora is not None:
        if writes:
            save_adapter(model, out / "adapter", base=recipe.backbone.name, revision=recipe.backbone.revision)
            write_base(out / "adapter", adapter_base(recipe, model))
        merge_adapter(model)
    if base is not None:
        average(model, base, recipe.average_with_base)
