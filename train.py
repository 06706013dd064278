"""Train a model: recipe in, model folder out.

    python train.py recipes/mini.toml --out runs/mini                        # one CPU or one GPU
    torchrun --nproc-per-node=8 train.py recipes/0.5b.toml --out runs/0.5b   # eight GPUs

The same command continues a run that was stopped, from its last whole checkpoint. `--set field=value`
replaces one field of the recipe, `--fresh` throws an earlier run in the same folder away.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from codequarry.data.pair import Pair
from codequarry.data.pair_files import fingerprint, read_pairs
from codequarry.modules.tasks import SIDES, prompt_name, prompts
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.recipes.run_folder import claim, finish, is_finished
from codequarry.recipes.schema import Recipe

if TYPE_CHECKING:
    from datasets import Dataset

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
    found = read_pairs(Path(recipe.data), skip_bad=skip_bad)
    data_sha256 = fingerprint(Path(recipe.data))
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

    # -- data: one dataset a source and task
    if found.skipped:
        ranks.print(f"skipped {found.skipped} malformed pairs.")
    sources, left_out = _datasets(found.pairs, recipe.batch_size)
    for name, pairs in left_out.items():
        ranks.print(f"left out: {name} has {pairs} pairs, fewer than one batch of {recipe.batch_size}.")
    if not sources:
        raise ValueError(
            f"no source in {recipe.data} fills one batch of {recipe.batch_size} pairs: mine more code, "
            f"or pass --set batch_size={max(2, max(left_out.values()) // 2)}."
        )
    for name, dataset in sources.items():
        ranks.print(f"{name}: {len(dataset)} pairs")

    # -- model
    set_seed(recipe.seed)
    with ranks.main_process_first():
        model = _model(recipe, recipe_file, out, found.pairs, device)
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
    trainer = PairTrainer(model=model, args=arguments, train_dataset=sources, loss=loss)
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
            "data": [_source_record(name, len(dataset)) for name, dataset in sources.items()],
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


def _datasets(pairs: Sequence[Pair], batch_size: int) -> tuple[dict[str, "Dataset"], dict[str, int]]:
    """One dataset for each source and task that fills a batch, by `source:task`; and the others' sizes."""
    from datasets import Dataset

    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[f"{pair.source}:{pair.task}"].append(pair)
    full = {name: group for name, group in sorted(groups.items()) if len(group) >= batch_size}
    left_out = {name: len(group) for name, group in sorted(groups.items()) if name not in full}
    return {name: Dataset.from_dict(_columns(group)) for name, group in full.items()}, left_out


def _columns(pairs: Sequence[Pair]) -> dict[str, list[str]]:
    negatives = min(len(pair.negatives) for pair in pairs)  # a column needs a text in every row
    return {
        "query": [pair.query for pair in pairs],
        "document": [pair.document for pair in pairs],
    } | {f"negative_{n + 1}": [pair.negatives[n] for pair in pairs] for n in range(negatives)}


def _column_prompts(prompts: Mapping[str, str | None], name: str, columns: Sequence[str]) -> dict[str, str]:
    """The prefix of each column of `source:task`: negatives are documents."""
    task = name.rpartition(":")[2]
    query, document = (prompts[prompt_name(task, side)] or "" for side in SIDES)
    return {column: query if column == "query" else document for column in columns}


def _source_record(name: str, pairs: int) -> dict[str, str | int]:
    source, _, task = name.rpartition(":")
    return {"source": source, "task": task, "pairs": pairs}


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
