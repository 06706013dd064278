"""Train a model: recipe in, model folder out.

    python train.py recipes/mini.toml --out runs/mini                        # one CPU or one GPU
    torchrun --nproc-per-node=8 train.py recipes/0.5b.toml --out runs/0.5b   # eight GPUs

The same command continues a run that was stopped, from its last whole checkpoint. `--set field=value`
replaces one field of the recipe, `--fresh` throws an earlier run in the same folder away.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codequarry.data.mixture import batch_shares, datasets_of, known_licences, select, source_of, task_of
from codequarry.data.pair import Pair
from codequarry.data.pair_folders import fingerprint_folders, read_pair_folders
from codequarry.modules.tasks import SIDES, prompt_name, prompts
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.recipes.run_folder import claim, finish, is_finished
from codequarry.recipes.schema import HardNegatives, Recipe

if TYPE_CHECKING:
    from codequarry.data.sources.schema import Licence
    from codequarry.modules.embedder import CodeEmbedder


def train(
    recipe_file: Path, out: Path, *, settings: Sequence[str] = (), fresh: bool = False, skip_bad: bool = False
) -> None:
    """Train the model of a recipe and leave it in `out`.

    Arguments:
        recipe_file: a TOML file (`recipes/`).
        out: the run's folder: checkpoints while it runs, the model when it is done.
        settings: `field=value` each, over the recipe's own.
        fresh: start over where `out` holds an earlier run.
        skip_bad: count malformed pairs instead of stopping at the first.

    Raises ValueError for a recipe, data or folder that cannot be used; nothing has been trained by then.
    """
    # -- recipe and pairs: everything that can be wrong with the input is found before torch is loaded
    recipe = read_recipe(recipe_file, settings)
    data = Path(recipe.data)
    found = read_pair_folders(data, subfolders=recipe.subfolders, skip_bad=skip_bad)
    data_sha256 = fingerprint_folders(data, subfolders=recipe.subfolders)
    licences = known_licences()
    pairs, left_out = select(
        found.pairs,
        licences=licences,
        allowed=recipe.licences,
        max_pairs=recipe.max_pairs_per_source,
        seed=recipe.seed,
    )
    _check_installed()

    import torch
    from accelerate import PartialState
    from sentence_transformers import SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesRankingLoss,
        MatryoshkaLoss,
    )
    from transformers import set_seed
    from transformers.utils.logging import disable_progress_bar

    from codequarry.modules.checkpoints import newest_complete
    from codequarry.modules.machine import describe_machine, has_fast_bf16, package_versions
    from codequarry.modules.pair_trainer import PairTrainer

    disable_progress_bar()  # transformers' own, at every file it reads or writes; the training bar stays

    # -- ranks and folder
    device = "cuda" if torch.cuda.is_available() else "cpu"
    ranks = PartialState(cpu=device == "cpu")
    if recipe.batch_size % ranks.num_processes:
        raise ValueError(
            f"batch_size {recipe.batch_size} cannot be dealt out to {ranks.num_processes} ranks: "
            f"pass --set batch_size={recipe.batch_size // ranks.num_processes * ranks.num_processes}."
        )
    with ranks.main_process_first():
        claim(out, recipe, data_sha256, fresh=fresh and ranks.is_main_process)
    if is_finished(out):
        ranks.print(f"{out} is finished. Pass --fresh to train it again.")
        return

    # -- data: one dataset a source and task, each with its share of the batches
    if found.skipped:
        ranks.print(f"skipped {found.skipped} malformed pairs.")
    if recipe.hard_negatives is not None:
        with ranks.main_process_first():
            pairs = _with_negatives(pairs, recipe.hard_negatives, out, device)
    sources, small = datasets_of(pairs, recipe.batch_size, seed=recipe.seed)
    left_out |= {
        name: f"{count} pairs, fewer than one batch of {recipe.batch_size}" for name, count in small.items()
    }
    for name, reason in left_out.items():
        ranks.print(f"left out: {name}: {reason}.")
    if not sources:
        raise ValueError(
            f"no source in {recipe.data} fills one batch of {recipe.batch_size} pairs: mine more code"
            + (f", or pass --set batch_size={max(2, max(small.values()) // 2)}." if small else ".")
        )
    sizes = {name: len(dataset) for name, dataset in sources.items()}
    shares = batch_shares(sizes, recipe.mixture_exponent, recipe.source_weights)
    sources = {name: dataset for name, dataset in sources.items() if name in shares}
    for name, share in shares.items():
        ranks.print(f"{name}: {sizes[name]} pairs, {share:.1%} of the batches")

    # -- model
    set_seed(recipe.seed)
    with ranks.main_process_first():
        model = _model(recipe, recipe_file, out, pairs, device)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = recipe.dropout

    # -- loss
    info_nce = CachedMultipleNegativesRankingLoss(
        model,
        scale=1 / recipe.temperature,
        mini_batch_size=recipe.mini_batch_size,
        gather_across_devices=ranks.num_processes > 1,
    )
    loss = MatryoshkaLoss(model, info_nce, list(recipe.matryoshka_dims))

    # -- arguments
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(out / "checkpoints"),
        max_steps=recipe.max_steps,
        per_device_train_batch_size=recipe.batch_size // ranks.num_processes,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.scheduler,
        warmup_steps=round(recipe.warmup_ratio * recipe.max_steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.precision == "bf16" or (recipe.precision == "auto" and has_fast_bf16(device)),
        prompts={
            name: _column_prompts(model.prompts, name, dataset.column_names)
            for name, dataset in sources.items()
        },
        dataloader_drop_last=True,
        save_steps=recipe.save_steps,
        save_total_limit=2,  # one to resume from while the next is being written
        logging_steps=recipe.logging_steps,
        seed=recipe.seed,
        use_cpu=device == "cpu",
        report_to="none",
    )

    # -- train, from the last whole checkpoint where there is one
    trainer = PairTrainer(model=model, args=arguments, train_dataset=sources, loss=loss, shares=shares)
    with ranks.main_process_first():
        checkpoint = newest_complete(out / "checkpoints")
    if checkpoint is not None:
        ranks.print(f"continuing from {checkpoint}")
    result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    # -- save
    if ranks.is_main_process:
        record = {
            "recipe": recipe.name,
            "steps": result.global_step,
            "seconds": round(result.metrics["train_runtime"], 1),
            "loss": round(result.training_loss, 4),
            "ranks": ranks.num_processes,
            "precision": "bf16" if arguments.bf16 else "fp32",
            "data": [
                _drawn(name, sizes[name], share, trainer.drawn[name], recipe.batch_size, licences)
                for name, share in shares.items()
            ],
            "left_out": left_out,
            "data_sha256": data_sha256,
            "skipped_pairs": found.skipped,
            "hardware": describe_machine(),
            "versions": package_versions(),
        }
        finish(out, model, record)
        saved = json.loads((out / "config_sentence_transformers.json").read_text(encoding="utf-8"))["prompts"]
        assert saved == model.prompts == prompts(), "the prompts of training, of the model and of the tasks"
        ranks.print(f"{out} is a trained model: codequarry.load({str(out)!r})")
    ranks.wait_for_everyone()


def _check_installed() -> None:
    if missing := [name for name in ("accelerate", "datasets") if find_spec(name) is None]:
        raise ValueError(f"training needs {' and '.join(missing)}: pip install 'codequarry[train]'")


def _with_negatives(pairs: Sequence[Pair], settings: HardNegatives, out: Path, device: str) -> list[Pair]:
    """The pairs with negatives; they are mined once and lie in the run's folder from then on."""
    from codequarry.data.hard_negatives import negatives_kept_in
    from codequarry.modules.load import load

    finder = load(settings.model, device=device)
    chosen: dict[str, Any] = asdict(settings)
    del chosen["model"]
    return negatives_kept_in(out / "negatives", pairs, finder, finder.fingerprint, **chosen)


def _column_prompts(prompts: Mapping[str, str | None], name: str, columns: Sequence[str]) -> dict[str, str]:
    """The prefix of each column of `source:task`: negatives are documents."""
    query, document = (prompts[prompt_name(task_of(name), side)] or "" for side in SIDES)
    return {column: query if column == "query" else document for column in columns}


def _drawn(
    name: str, pairs: int, share: float, batches: int, batch_size: int, licences: Mapping[str, "Licence"]
) -> dict[str, Any]:
    """What the record says of one source and task; its licence is None where no row of ours has it."""
    source = source_of(name)
    return {
        "source": source,
        "task": task_of(name),
        "pairs": pairs,
        "licence": licences[source].spdx if source in licences else None,
        "share": round(share, 4),
        "batches_drawn": batches,
        "pairs_drawn": batches * batch_size,
    }


def _model(
    recipe: Recipe, recipe_file: Path, out: Path, pairs: Sequence[Pair], device: str
) -> "CodeEmbedder":
    """The untrained model: on pretrained weights, or on random ones that are kept in the run's folder."""
    from codequarry.modules.build import build_model
    from codequarry.modules.random_backbone import read_tokenizer, train_tokenizer, write_random_backbone

    backbone, lock = recipe.backbone.name, recipe_file.parent / "backbones.lock.json"
    if recipe.backbone.weights == "random" and recipe.backbone.shape is not None:
        folder = out / "backbone"
        if not folder.exists():
            tokenizer = (
                read_tokenizer(recipe.backbone.tokenizer)
                if recipe.backbone.tokenizer
                else train_tokenizer(
                    (text for pair in pairs for text in (pair.query, pair.document)),
                    recipe.backbone.shape.vocabulary,
                )
            )
            write_random_backbone(folder, recipe.backbone.shape, tokenizer, seed=recipe.seed)
        backbone = str(folder)
    return build_model(
        backbone,
        pooling=recipe.pooling,
        max_length=recipe.max_length,
        dims=recipe.matryoshka_dims,
        revision=recipe.backbone.revision,
        lock=lock,
        device=device,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train.py`, which `codequarry train` takes too."""
    parser.add_argument("recipe", help="a recipe file, or mini, nano, 0.5b, 1.5b")
    parser.add_argument(
        "--out", type=Path, required=True, help="the run's folder; in the end it is the model"
    )
    parser.add_argument(
        "--set",
        dest="settings",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="replace one field of the recipe, e.g. --set max_steps=20; may be given again",
    )
    parser.add_argument("--fresh", action="store_true", help="throw away an earlier run in --out")
    parser.add_argument("--skip-bad", action="store_true", help="count malformed pairs instead of stopping")


def run(arguments: argparse.Namespace) -> None:
    """Train as the parsed options say."""
    train(
        recipe_path(arguments.recipe),
        arguments.out,
        settings=arguments.settings,
        fresh=arguments.fresh,
        skip_bad=arguments.skip_bad,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    try:
        run(parser.parse_args())
    except ValueError as error:
        sys.exit(f"error: {error}")
