"""The model a recipe starts from: on pretrained weights, or on random ones kept in the run's folder."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from codequarry.recipes.schema import Recipe

if TYPE_CHECKING:
    from codequarry.modules.embedder import CodeEmbedder


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
