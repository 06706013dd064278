"""Train a model: recipe in, model folder out.

    python train.py recipes/mini.toml --out runs/mini                        # one CPU or one GPU
    torchrun --nproc-per-node=8 train.py recipes/0.5b.toml --out runs/0.5b   # eight GPUs
    python train.py recipes/0.5b-lora.toml --from runs/a --decay 20 --out runs/b   # end run a now, as run b

The same command continues a run that was stopped, by Ctrl-C, a crash or a power cut, from its last whole
checkpoint. `--set field=value` replaces one field of the recipe, `--fresh` throws an earlier run in the same
folder away. Several machines: see recipes/0.5b.toml.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from codequarry.data.mixture import batch_shares, column_prompts, datasets_of, known_licences, select
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs
from codequarry.data.pair_folders import fingerprint_folders, read_pair_folders
from codequarry.data.validation_split import split
from codequarry.data.what_is_drawn import announced, drawn
from codequarry.modules.run_logs import RUN_LOGS, chosen_logs, log_callbacks
from codequarry.modules.tasks import prompts
from codequarry.modules.told_in_a_sentence import run_program
from codequarry.recipes.read import offer_settings, read_recipe, recipe_path
from codequarry.recipes.run_folder import adopt, claim, finish, is_finished, keep_choice, with_decay
from codequarry.recipes.schema import HardNegatives, Recipe


def train(
    recipe_file: Path,
    out: Path,
    *,
    settings: Sequence[str] = (),
    fresh: bool = False,
    skip_bad: bool = False,
    logs: Sequence[str] = (),
    start: Path | None = None,
    decay: int | None = None,
) -> None:
    """Train the model of a recipe and leave it in `out`.

    Arguments:
        recipe_file: a TOML file (`recipes/`).
        out: the run's folder: checkpoints while it runs, the model when it is done.
        settings: `field=value` each, over the recipe's own.
        fresh: start over where `out` holds an earlier run.
        skip_bad: count malformed pairs instead of stopping at the first.
        logs: see `chosen_logs`.
        start, decay: begin at the newest checkpoint of this run, or at this checkpoint, and let the learning
            rate fall to 0 over so many steps; None: begin at the backbone, and end as the recipe says.

    Raises ValueError for a recipe, data or folder that cannot be used, before anything is trained, and for
    a run that had to end, with what it has kept.
    """
    # -- recipe and pairs: everything that can be wrong with the input is found before torch is loaded
    recipe = read_recipe(recipe_file, settings)
    if (start is None) != (decay is None):
        raise ValueError("--from and --decay go together: which checkpoint, and how many steps to its end.")
    if start is not None and decay is not None:
        recipe, start = with_decay(recipe, start, decay)
    chosen = chosen_logs(logs)
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
    skipped = found.skipped
    del found
    _check_installed(recipe)

    import torch
    from accelerate import PartialState
    from sentence_transformers import SentenceTransformerTrainingArguments
    from transformers import set_seed
    from transformers.utils.logging import disable_progress_bar

    from codequarry.modules.adapter import add_adapter, merge_adapter, save_adapter
    from codequarry.modules.adapter_folder import write_base
    from codequarry.modules.average import average, float_copy
    from codequarry.modules.best_checkpoint import BestCheckpoint
    from codequarry.modules.checkpoints import newest_complete
    from codequarry.modules.curves import write_curves
    from codequarry.modules.fast_fp32 import use_fast_fp32
    from codequarry.modules.lora_linear import fuse_adapters
    from codequarry.modules.machine import describe_machine, package_versions
    from codequarry.modules.packing import position_offset, use_packing
    from codequarry.modules.pair_collator import PairCollator
    from codequarry.modules.pair_trainer import PairTrainer
    from codequarry.modules.precision import chosen_precision
    from codequarry.modules.progress import show_progress
    from codequarry.modules.recomputation import recompute_elementwise
    from codequarry.modules.teachers import vectors_of
    from codequarry.modules.token_cache import TokenCache
    from codequarry.modules.tokens_that_fit import tokens_that_fit
    from codequarry.modules.training_history import validations
    from codequarry.modules.validation import ValidationScores
    from codequarry.recipes.untrained_model import base_of, objective_of, untrained_model

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
        if start is not None and ranks.is_main_process:
            adopt(out, start)
    if is_finished(out):
        ranks.print(f"{out} is finished. Pass --fresh to train it again.")
        return

    # -- data: pairs to validate on, and one dataset a source and task with its share of the batches
    if skipped:
        ranks.print(f"skipped {skipped} malformed pairs.")
    evaluator, validated_on = None, {}
    if recipe.validation is not None:
        held_out = split(
            pairs,
            per_source_and_task=recipe.validation.pairs_per_source,
            max_pairs=recipe.validation.max_pairs,
            share=recipe.validation.share,
            seed=recipe.seed,
            progress=ranks.is_main_process,
        )
        pairs = held_out.train
        evaluator = ValidationScores(
            held_out.by_task, dims=recipe.validation.dims, metric=recipe.validation.metric
        )
        ranks.print(f"{len(held_out.validation)} pairs held out to validate on.")
        validated_on = {"pairs": held_out.validation_counts, "set_aside": held_out.set_aside}
        if ranks.is_main_process:
            write_pairs(out / "validation/pairs.jsonl.gz", held_out.validation)
        del held_out
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
    for line in announced(sizes, shares):
        ranks.print(line)

    # -- model
    set_seed(recipe.seed)
    with ranks.main_process_first():
        texts = (text for pair in pairs for text in (pair.query, pair.document))
        model = untrained_model(recipe, recipe_file.parent / "backbones.lock.json", out, texts, device)
    del pairs, texts  # a million of them are 4 GB, and the data sets hold what trains
    base = float_copy(model) if recipe.average_with_base else None
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = recipe.dropout
    if recipe.lora is not None:
        add_adapter(model, **asdict(recipe.lora))
        recompute_elementwise(model)
        fuse_adapters(model)
    not_packed = use_packing(model)
    if not_packed is not None:
        ranks.print(f"texts are padded, which is slower: {not_packed}.")
    architecture = str(getattr(model.config, "model_type", "unknown"))
    precision = chosen_precision(recipe.precision, device=device, architecture=architecture)
    if device == "cpu" and precision == "fp32":
        use_fast_fp32()

    # -- loss
    with ranks.main_process_first():
        fitting = tokens_that_fit(
            model, precision, device, packs=not_packed is None, memory_gb=recipe.memory_gb
        )
        if recipe.memory_gb is None:
            # free memory differs from one sitting of a run to the next, and what a step rounds must not
            fitting = keep_choice(out, "graph_tokens", fitting)
    graph_tokens = {"on": 0, "auto": fitting, "off": None}[recipe.grad_cache]
    loss = objective_of(recipe, model, graph_tokens)

    # -- arguments
    with ranks.main_process_first():
        checkpoint = newest_complete(out / "checkpoints", check=ranks.is_main_process)
    validation: dict[str, Any] = {}
    if recipe.validation is not None:
        validation = {
            "eval_strategy": "steps",
            "eval_on_start": checkpoint is None and recipe.validation.on_start,
            "eval_steps": recipe.validation.every_steps,
            "load_best_model_at_end": recipe.validation.keep == "best",
            "metric_for_best_model": recipe.validation.metric,
            "greater_is_better": True,
            "restore_callback_states_from_checkpoint": True,
        }
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(out / "checkpoints"),
        max_steps=recipe.max_steps,
        per_device_train_batch_size=recipe.batch_size // ranks.num_processes,
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

    # -- train, from the last whole checkpoint where there is one
    collator = PairCollator(
        TokenCache(model[0]),  # type: ignore[arg-type]
        {
            name: column_prompts(model.prompts, name, dataset.column_names)
            for name, dataset in sources.items()
        },
        packed=not_packed is None,
        pad_id=model.tokenizer.pad_token_id,
        position_offset=position_offset(model),
    )
    trainer = PairTrainer(
        model=model,
        args=arguments,
        train_dataset=sources,
        loss=loss,
        data_collator=collator,
        evaluator=evaluator,
        shares=shares,
        callbacks=log_callbacks(chosen, out),
    )
    if recipe.validation is not None and recipe.validation.keep == "best":
        trainer.add_callback(BestCheckpoint(recipe.validation.patience))
    show_progress(
        trainer,
        pairs_per_step=recipe.batch_size,
        metric=recipe.validation.metric if recipe.validation else None,
    )
    if recipe.objective.matching is not None:
        with ranks.main_process_first():
            collator.teacher = vectors_of(recipe.objective.matching.teacher, trainer.texts_to_draw(), device)
    if checkpoint is not None:
        ranks.print(f"continuing from {checkpoint}")
    result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    # -- save: the adapter merged, the base's share added, one plain model
    if recipe.lora is not None:
        if ranks.is_main_process:
            save_adapter(model, out / "adapter", base=recipe.backbone.name, revision=recipe.backbone.revision)
            write_base(out / "adapter", base_of(recipe, model))
        merge_adapter(model)
    if base is not None:
        average(model, base, recipe.average_with_base)
    final_scores = evaluator(model) if evaluator is not None else None
    if ranks.is_main_process:
        record = {
            "recipe": asdict(recipe),
            "steps": result.global_step,
            "seconds": round(trainer.seconds, 1),
            "loss": round(result.training_loss, 4),
            "ranks": ranks.num_processes,
            "precision": precision,
            "packed": not_packed is None,
            "graph_tokens": graph_tokens,
            "validation": {
                "metric": evaluator.primary_metric,
                **validated_on,
                "scores": validations(trainer.state.log_history),
                "best_step": trainer.state.best_global_step if arguments.load_best_model_at_end else None,
                "model": final_scores,
            }
            if evaluator is not None
            else None,
            "data": [
                drawn(name, sizes[name], share, trainer.drawn[name], recipe.batch_size, licences)
                for name, share in shares.items()
            ],
            "left_out": left_out,
            "data_sha256": data_sha256,
            "skipped_pairs": skipped,
            "hardware": describe_machine(),
            "versions": package_versions(),
        }
        try:
            write_curves(out, trainer.state.log_history, recipe.name, trainer.args.metric_for_best_model)
        except ValueError as missing:
            ranks.print(f"no curves.svg: {missing}")
        finish(out, model, record)
        saved = json.loads((out / "config_sentence_transformers.json").read_text(encoding="utf-8"))["prompts"]
        assert saved == model.prompts == prompts(), "the prompts of training, of the model and of the tasks"
        ranks.print(f"{out} is a trained model: codequarry.load({str(out)!r})")
    ranks.wait_for_everyone()


def _check_installed(recipe: Recipe) -> None:
    needed = ["accelerate", "datasets"]
    if recipe.objective.matching is not None:
        needed.append("pyarrow")
    if recipe.lora is not None:
        needed.append("peft")
    if missing := [name for name in needed if find_spec(name) is None]:
        raise ValueError(f"training needs {' and '.join(missing)}: pip install 'codequarry[train]'")


def _with_negatives(pairs: Sequence[Pair], settings: HardNegatives, out: Path, device: str) -> list[Pair]:
    """The pairs with negatives; they are mined once and lie in the run's folder from then on."""
    from codequarry.data.hard_negatives import negatives_kept_in
    from codequarry.modules.load import load

    finder = load(settings.model, device=device)
    chosen: dict[str, Any] = asdict(settings)
    del chosen["model"]
    return negatives_kept_in(out / "negatives", pairs, finder, finder.fingerprint, **chosen)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train.py`, which `codequarry train` takes too."""
    parser.add_argument("recipe", help="a recipe file, or mini, own, nano, 0.5b-lora, 0.5b, 1.5b")
    parser.add_argument(
        "--out", type=Path, required=True, help="the run's folder; in the end it is the model"
    )
    offer_settings(parser)
    parser.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="RUN",
        help="with --decay: the run (its newest checkpoint) or RUN/checkpoints/checkpoint-N to end; "
        "give the recipe and options it was started with, and another --out",
    )
    parser.add_argument(
        "--decay",
        type=int,
        metavar="STEPS",
        help="with --from: let the learning rate fall to 0 over so many steps, and save the model",
    )
    parser.add_argument("--fresh", action="store_true", help="throw away an earlier run in --out")
    parser.add_argument("--skip-bad", action="store_true", help="count malformed pairs instead of stopping")
    parser.add_argument(
        "--report-to",
        dest="logs",
        action="append",
        default=[],
        choices=RUN_LOGS,
        help="tensorboard, trackio, wandb or none; may be given again. Without it TensorBoard, where it is "
        "installed; the others may upload",
    )


def run(arguments: argparse.Namespace) -> None:
    """Train as the parsed options say."""
    train(
        recipe_path(arguments.recipe),
        arguments.out,
        settings=arguments.settings,
        fresh=arguments.fresh,
        skip_bad=arguments.skip_bad,
        logs=arguments.logs,
        start=arguments.start,
        decay=arguments.decay,
    )


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
