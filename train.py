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
from pathlib import Path

from codequarry.common.environment import TESTED_DEVICES, chosen_device
from codequarry.common.errors import UserError, run_program
from codequarry.data.mixture import part_of
from codequarry.data.pair_columns import offer_columns
from codequarry.modules.tasks import get_family
from codequarry.recipes.read import offer_settings, read_recipe, recipe_for_base
from codequarry.training.build import (
    RUN_LOGS,
    build_collator,
    build_loss,
    check_installed,
    check_ranks,
    choose_grad_cache_threshold,
    chosen_logs,
    final_weights,
    float_copy,
    initial_model,
    prepare_model,
    quiet_other_ranks,
    training_arguments,
)
from codequarry.training.mixture import drawn_summary, load_mixture, read_selected
from codequarry.training.record import run_record, scores_at, write_curves
from codequarry.training.run_folder import adopt, finish, is_finished, open_run, with_decay


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
    device: str | None = None,
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
        device: see `chosen_device`.

    Raises UserError for a recipe, data or folder that cannot be used, before anything is trained, and for
    a run that had to end, with what it has kept.
    """
    quiet_other_ranks()

    # -- recipe and pairs: everything that can be wrong with the input is found before torch is loaded
    recipe = read_recipe(recipe_file, settings)
    if (start is None) != (decay is None):
        raise UserError("--from and --decay go together: which checkpoint, and how many steps to its end.")
    if start is not None and decay is not None:
        recipe, start = with_decay(recipe, start, decay)
    chosen = chosen_logs(logs)
    selected = read_selected(recipe, skip_bad=skip_bad)
    check_installed(recipe)

    from accelerate import PartialState
    from transformers import set_seed
    from transformers.utils.logging import disable_progress_bar

    from codequarry.modules.packing import use_packing
    from codequarry.modules.precision import chosen_precision, precision_line, use_fast_fp32
    from codequarry.training.callbacks import BestCheckpoint, log_callbacks, show_progress
    from codequarry.training.checkpoints import newest_complete
    from codequarry.training.distillation import prompts_line, vectors_of
    from codequarry.training.trainer import PairTrainer

    disable_progress_bar()  # transformers' own, at every file it reads or writes; the training bar stays

    # -- ranks and folder
    device = chosen_device(device)
    ranks = PartialState(cpu=device == "cpu")
    if device not in TESTED_DEVICES:
        ranks.print(f"training on {device} is untested: compare the first losses with those of --device cpu.")
    check_ranks(recipe, ranks.num_processes)
    with ranks.main_process_first():
        open_run(out, recipe, selected.data_sha256, fresh=fresh and ranks.is_main_process)
        if start is not None and ranks.is_main_process:
            adopt(out, start)
    if is_finished(out):
        ranks.print(f"{out} is finished. Pass --fresh to train it again.")
        return

    # -- data: pairs to validate on, and one data set per source and task with its share of the batches
    mixture = load_mixture(recipe, selected, out, ranks=ranks, device=device)

    # -- model
    set_seed(recipe.seed)
    with ranks.main_process_first():
        drawn = (pair for pair in mixture.pairs if part_of(pair) in mixture.shares)
        texts = (text for pair in drawn for text in (pair.query, pair.document))
        model = initial_model(recipe, recipe_file.parent / "backbones.lock.json", out, texts, device)
    mixture.pairs.clear()  # a million of them are 4 GB, and the data sets hold what trains
    base = float_copy(model) if recipe.average_with_base else None
    prepare_model(recipe, model)
    not_packed = use_packing(model)
    if not_packed is not None:
        ranks.print(f"texts are padded, which is slower: {not_packed}.")
    architecture = str(getattr(model.config, "model_type", "unknown"))
    precision = chosen_precision(
        recipe.precision, device=device, architecture=architecture, weights=recipe.weights
    )
    if line := precision_line(recipe.precision, precision, device=device):
        ranks.print(line)
    if device == "cpu" and precision == "fp32":
        use_fast_fp32()

    # -- loss
    with ranks.main_process_first():
        grad_cache_threshold = choose_grad_cache_threshold(
            recipe, model, out, precision, packed=not_packed is None
        )
    loss = build_loss(recipe, model, grad_cache_threshold)

    # -- train, from the last whole checkpoint where there is one
    with ranks.main_process_first():
        checkpoint = newest_complete(out / "checkpoints", check=ranks.is_main_process)
    prompts = get_family(recipe.prompts).prompts()
    collator = build_collator(model, mixture.datasets, prompts, packed=not_packed is None)
    arguments = training_arguments(
        recipe,
        out,
        ranks=ranks.num_processes,
        device=device,
        precision=precision,
        resumes=checkpoint is not None,
    )
    trainer = PairTrainer(
        model=model,
        args=arguments,
        train_dataset=mixture.datasets,
        loss=loss,
        data_collator=collator,
        evaluator=mixture.evaluator,
        shares=mixture.shares,
        callbacks=log_callbacks(chosen, out),
    )
    validation = recipe.validation
    if validation is not None and validation.keep == "best":
        trainer.add_callback(BestCheckpoint(validation.patience))
    show_progress(trainer, pairs_per_step=recipe.batch_size, metric=validation.metric if validation else None)
    if recipe.objective.matching is not None:
        with ranks.main_process_first():
            collator.teacher = vectors_of(recipe.objective.matching.teacher, trainer.texts_to_draw(), device)
        ranks.print(prompts_line(recipe.objective.matching.teacher, collator.teacher.prompts))
    if checkpoint is not None:
        ranks.print(f"continuing from {checkpoint}")
    result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    for line in drawn_summary(mixture.shares, trainer.drawn):
        ranks.print(line)

    # -- save: the adapter merged, the base's share added, one plain model
    final_weights(recipe, model, base, out, writes=ranks.is_main_process)
    final_scores: dict[str, float] | None = None
    if mixture.evaluator is not None:
        # Those of the last step, unless other weights than its own are saved: a validation takes minutes.
        others = base is not None or trainer.args.load_best_model_at_end
        last = {} if others else scores_at(trainer.state.log_history, trainer.state.global_step)
        final_scores = last or mixture.evaluator(model)
    if ranks.is_main_process:
        record = run_record(
            recipe,
            trainer,
            mixture,
            selected,
            loss=result.training_loss,
            ranks=ranks.num_processes,
            precision=precision,
            packed=not_packed is None,
            grad_cache_threshold=grad_cache_threshold,
            final_scores=final_scores,
        )
        try:
            write_curves(out, trainer.state.log_history, recipe.name, trainer.args.metric_for_best_model)
        except UserError as missing:
            ranks.print(f"no curves.svg: {missing}")
        finish(out, model, record, prompts=prompts)
        ranks.print(f"{out} is a trained model: codequarry.load({str(out)!r})")
    ranks.wait_for_everyone()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train.py`, which `codequarry train` takes too."""
    parser.add_argument(
        "recipe", help="a recipe file, or mini, own, pico, nano, 0.5b-lora, 1.5b-lora, 0.5b, 1.5b"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="the run's folder; in the end it is the model"
    )
    parser.add_argument(
        "--base",
        metavar="MODEL",
        help="the model that is trained further, a name or folder (default: the recipe's backbone); "
        "own has recipes for mini, pico and 0.5b",
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
        help="with --from: let the learning rate fall to 0 over so many steps, and save the model; these may "
        "be on longer texts, with --set max_length=512",
    )
    parser.add_argument(
        "--device",
        help="where the model trains, such as cpu, cuda or mps (default: the accelerator there is)",
    )
    parser.add_argument("--fresh", action="store_true", help="throw away an earlier run in --out")
    offer_columns(parser)
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
    named = [f"columns.{field}={json.dumps(column)}" for field, column in (arguments.columns or {}).items()]
    named += [f"task={arguments.task}"] if arguments.task else []
    recipe, based = recipe_for_base(arguments.recipe, arguments.base)
    train(
        recipe,
        arguments.out,
        settings=[*based, *arguments.settings, *named],
        fresh=arguments.fresh,
        skip_bad=arguments.skip_bad,
        logs=arguments.logs,
        start=arguments.start,
        decay=arguments.decay,
        device=arguments.device,
    )


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
