"""The trainer that ours is measured against: sentence-transformers' own, as its documentation uses it."""

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MatryoshkaLoss,
)
from transformers import set_seed

from codequarry.data.mixture import batch_shares, column_prompts, datasets_of
from codequarry.data.pair_files import read_pairs
from codequarry.modules.build import build_model
from codequarry.modules.no_text_twice import NoTextTwice
from codequarry.modules.one_task_per_batch import OneTaskPerBatch
from codequarry.modules.tasks import SIDES
from codequarry.recipes.schema import Recipe

MINI_BATCH = 32  # texts; its default, and what its documentation calls with


def stock_trainer(
    recipe: Recipe, out: Path, trainer_class: type[SentenceTransformerTrainer]
) -> SentenceTransformerTrainer:
    """A plain trainer for a recipe: `MatryoshkaLoss(CachedMultipleNegativesRankingLoss)`, its own collator.

    The same model, seed, rates and samplers as `train.py`, so that it sees the same batches; dropout is off
    too, although a base may bring some, because ours leaves it out and the losses are compared.

    Arguments: `trainer_class`, the trainer, or one derived from it that looks on.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sources, _ = datasets_of(read_pairs(recipe.data).pairs, recipe.batch_size, seed=recipe.seed)
    sizes = {name: len(dataset) for name, dataset in sources.items()}
    shares = batch_shares(sizes, recipe.mixture_exponent, recipe.source_weights)
    set_seed(recipe.seed)
    model = build_model(
        recipe.backbone.name,
        pooling=recipe.pooling,
        max_length=recipe.max_length,
        dims=recipe.matryoshka_dims,
        prompts=recipe.prompts,
        device=device,
    )
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = recipe.dropout
    cached = CachedMultipleNegativesRankingLoss(
        model, scale=1 / recipe.temperature, mini_batch_size=MINI_BATCH
    )

    def batches(dataset: Any, *, batch_size: int, seed: int, **_: Any) -> NoTextTwice:
        return NoTextTwice(dataset, batch_size, seed)

    def turns(
        dataset: Any, *, batch_samplers: list[Any], generator: torch.Generator, seed: int
    ) -> OneTaskPerBatch:
        return OneTaskPerBatch(
            dataset, batch_samplers, generator, seed, 1, [shares[name] for name in sources], recipe.max_steps
        )

    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(out / "checkpoints"),
        max_steps=recipe.max_steps,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.scheduler,
        warmup_steps=round(recipe.warmup_ratio * recipe.max_steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.precision == "bf16",
        prompts={name: column_prompts(model.prompts, name, SIDES) for name in sources},
        batch_sampler=batches,  # type: ignore[arg-type]  # its protocol is that of its own class
        multi_dataset_batch_sampler=turns,
        dataloader_drop_last=True,
        save_strategy="no",
        logging_steps=recipe.logging_steps,
        seed=recipe.seed,
        use_cpu=device == "cpu",
        report_to="none",
    )
    return trainer_class(
        model=model,
        args=arguments,
        train_dataset={name: sources[name] for name in sources},
        loss=MatryoshkaLoss(model, cached, list(recipe.matryoshka_dims)),
    )
