"""What a run states about itself: the mixture before it starts, and training.json when it is done."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from codequarry.data.catalog.registry import TRAIN_SOURCES, hub_sources
from codequarry.data.catalog.schema import Hub, Licence
from codequarry.data.mixture import source_of, task_of
from codequarry.recipes.schema import Recipe

if TYPE_CHECKING:
    from codequarry.training.mixture import Mixture, SelectedPairs
    from codequarry.training.trainer import PairTrainer


def mixture_summary(sizes: Mapping[str, int], shares: Mapping[str, float]) -> list[str]:
    """A line for each source and task, mined repositories, of which there may be hundreds, together.

    Arguments: `sizes`, pairs by `source:task`; `shares`, of the batches, of those that are drawn.
    """
    parts: dict[str, list[str]] = defaultdict(list)
    for name in shares:
        mined = "/" in source_of(name)
        parts[f"mined repositories:{task_of(name)}" if mined else name].append(name)
    lines = []
    for title, names in parts.items():
        pairs, share = (sum(numbers[name] for name in names) for numbers in (sizes, shares))
        of = f" of {len(names)}" if title not in shares else ""
        lines.append(f"{title}: {pairs:,} pairs{of}, {share:.1%} of the batches")
    return lines


def source_record(
    name: str, pairs: int, share: float, batches: int, batch_size: int, licences: Mapping[str, Licence]
) -> dict[str, Any]:
    """One row of the record; its licence is None where no row of ours has one.

    `datasets`, the Hub names of what the source was read from, is there where it came from the Hub.

    Arguments: `name`, `source:task`; `pairs`, to draw from; `share`, of the batches; `batches`, drawn, of
    `batch_size` pairs.
    """
    source = source_of(name)
    row = TRAIN_SOURCES.get(source) or hub_sources().get(source)
    places = row.where if row is not None else ()
    datasets = list(dict.fromkeys(place.dataset for place in places if isinstance(place, Hub)))
    found: dict[str, Any] = {
        "source": source,
        "task": task_of(name),
        "pairs": pairs,
        "licence": licences[source].spdx if source in licences else None,
        "share": round(share, 4),
        "batches_drawn": batches,
        "pairs_drawn": batches * batch_size,
    }
    return found | ({"datasets": datasets} if datasets else {})


def run_record(
    recipe: Recipe,
    trainer: "PairTrainer",
    mixture: "Mixture",
    selected: "SelectedPairs",
    *,
    loss: float,
    ranks: int,
    precision: str,
    packed: bool,
    grad_cache_threshold: int | None,
    final_scores: Mapping[str, float] | None,
) -> dict[str, Any]:
    """The content of a run's training.json: recipe, what was computed and how, scores, data, machine.

    Arguments:
        trainer: has finished its run.
        loss: mean over the steps of the run.
        ranks: processes that trained together.
        precision: of a step: bf16, fp16 or fp32.
        packed: the texts of a batch stood in one row without padding.
        grad_cache_threshold: see `MiniBatchLoss`; None: gradients are never cached.
        final_scores: of the model that is saved; None without validation.
    """
    from codequarry.common.environment import describe_machine, package_versions
    from codequarry.training.progress import validations

    evaluator, state = mixture.evaluator, trainer.state
    return {
        "recipe": asdict(recipe),
        "steps": state.global_step,
        "seconds": round(trainer.seconds, 1),
        "loss": round(loss, 4),
        "ranks": ranks,
        "precision": precision,
        "packed": packed,
        "graph_tokens": grad_cache_threshold,
        "validation": {
            "metric": evaluator.primary_metric,
            **mixture.validated_on,
            "scores": validations(state.log_history),
            "best_step": state.best_global_step if trainer.args.load_best_model_at_end else None,
            "model": final_scores,
        }
        if evaluator is not None
        else None,
        "data": [
            source_record(
                name,
                mixture.sizes[name],
                share,
                trainer.drawn[name],
                recipe.batch_size,
                selected.licences,
            )
            for name, share in mixture.shares.items()
        ],
        "left_out": mixture.left_out,
        "data_sha256": selected.data_sha256,
        "skipped_pairs": selected.skipped,
        "hardware": describe_machine(),
        "versions": package_versions(),
    }
