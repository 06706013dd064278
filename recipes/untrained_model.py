"""What a recipe makes before a run: the model it starts from, and the loss it is trained by."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from codequarry.recipes.schema import Recipe

if TYPE_CHECKING:
    from codequarry.modules.adapter_folder import AdapterBase
    from codequarry.modules.embedder import CodeEmbedder
    from codequarry.modules.losses.objective import Objective


def untrained_model(
    recipe: Recipe, lock: Path, out: Path, texts: Iterable[str], device: str
) -> "CodeEmbedder":
    """Build the model of a recipe.

    Arguments:
        recipe: says backbone, pooling, length and dimensions.
        lock: where the commits of Hub backbones are pinned.
        out: the run's folder; random weights are written into it, and read from it the next time.
        texts: what a tokenizer is trained on, where random weights come without one.
        device: as in `SentenceTransformer`.

    Raises ValueError when the backbone cannot be found or does not go with the recipe.
    """
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
    return build_model(
        backbone,
        pooling=recipe.pooling,
        max_length=recipe.max_length,
        dims=recipe.matryoshka_dims,
        dtype=stored_weights(recipe.weights, recipe.precision, device=device, frozen=recipe.lora is not None),
        revision=recipe.backbone.revision,
        lock=lock,
        device=device,
    )


def objective_of(recipe: Recipe, model: "CodeEmbedder", graph_tokens: int | None) -> "Objective":
    """The loss of a recipe. Arguments: `graph_tokens`, see `MiniBatchLoss`."""
    from codequarry.modules.losses.objective import Objective

    terms = recipe.objective
    return Objective(
        model,
        temperature=recipe.temperature,
        dims=recipe.matryoshka_dims,
        mini_batch_tokens=recipe.mini_batch_tokens,
        graph_tokens=graph_tokens,
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


def base_of(recipe: Recipe, model: "CodeEmbedder") -> "AdapterBase":
    """What the adapter of a recipe's run belongs to."""
    from codequarry.modules.adapter_folder import AdapterBase, file_of

    return AdapterBase(
        backbone=recipe.backbone.name,
        revision=recipe.backbone.revision,
        sha256=file_of(model),
        pooling=recipe.pooling,
        max_length=recipe.max_length,
        dims=recipe.matryoshka_dims,
    )
