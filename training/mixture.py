"""The pairs of a run: read, selected, split for validation, given negatives, and made into data sets."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codequarry.common.errors import UserError
from codequarry.data.catalog.registry import known_licences
from codequarry.data.catalog.schema import Licence
from codequarry.data.mixture import batch_shares, datasets_of, select, source_of, task_of
from codequarry.data.pair import Pair
from codequarry.data.pair_files import fingerprint_folders, read_pair_folders, write_pairs
from codequarry.data.validation_split import split
from codequarry.recipes.schema import HardNegatives, Recipe, Validation

if TYPE_CHECKING:
    from accelerate import PartialState
    from datasets import Dataset

    from codequarry.training.evaluator import ValidationScores


@dataclass
class SelectedPairs:
    """The pairs of a recipe's data that its licences and caps admit; see `read_selected`.

    left_out: reasons, by source or `source:task`.
    skipped: malformed pairs.
    data_sha256: of all pair files.
    """

    pairs: list[Pair]
    left_out: dict[str, str]
    licences: Mapping[str, Licence]
    skipped: int
    data_sha256: str


@dataclass
class Mixture:
    """What a run trains on and validates by; see `load_mixture`.

    pairs: those that train, in the order of the data; may be cleared once the model is built.
    datasets: by `source:task`, those with a share of the batches.
    sizes: pairs by `source:task`, also of those whose weight is 0.
    shares: of the batches, by `source:task`; they add up to 1.
    left_out: reasons, by source or `source:task`.
    evaluator: None without validation.
    validated_on: counts of the held-out pairs for the record; empty without validation.
    """

    pairs: list[Pair]
    datasets: dict[str, "Dataset"]
    sizes: dict[str, int]
    shares: dict[str, float]
    left_out: dict[str, str]
    evaluator: "ValidationScores | None"
    validated_on: dict[str, Any]


def read_selected(recipe: Recipe, *, skip_bad: bool = False) -> SelectedPairs:
    """Read the pairs of a recipe and select by licence and cap, without loading torch.

    Arguments: `skip_bad`, count malformed pairs instead of stopping at the first.

    Raises UserError for data that cannot be read.
    """
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
    return SelectedPairs(pairs, left_out, licences, found.skipped, data_sha256)


def load_mixture(
    recipe: Recipe, selected: SelectedPairs, out: Path, *, ranks: "PartialState", device: str
) -> Mixture:
    """Hold pairs out, find hard negatives, and make one data set per source and task with its share.

    Arguments:
        selected: from `read_selected`. Its pairs are moved out of it, since a million of them take 4 GB.
        out: the run's folder; held-out pairs and negatives are written into it.
        ranks: the processes that train together; the first one prints and writes.
        device: where the model that finds negatives runs.

    Raises UserError when no source fills a batch, with a batch size that works.
    """
    pairs, selected.pairs = selected.pairs, []
    if selected.skipped:
        ranks.print(f"skipped {selected.skipped} malformed pairs.")
    evaluator: ValidationScores | None = None
    validated_on: dict[str, Any] = {}
    if recipe.validation is not None:
        pairs, evaluator, validated_on = _held_out(pairs, recipe.validation, recipe.seed, out, ranks)
    if recipe.hard_negatives is not None:
        with ranks.main_process_first():
            pairs = _with_negatives(pairs, recipe.hard_negatives, out, device)
    datasets, small = datasets_of(pairs, recipe.batch_size, seed=recipe.seed)
    left_out = selected.left_out | {
        name: f"{count} pairs, fewer than one batch of {recipe.batch_size}" for name, count in small.items()
    }
    for name, reason in left_out.items():
        ranks.print(f"left out: {name}: {reason}.")
    if not datasets:
        raise UserError(
            f"no source in {recipe.data} fills one batch of {recipe.batch_size} pairs: mine more code"
            + (f", or pass --set batch_size={max(2, max(small.values()) // 2)}." if small else ".")
        )
    sizes = {name: len(dataset) for name, dataset in datasets.items()}
    shares = batch_shares(sizes, recipe.mixture_exponent, recipe.source_weights)
    for line in mixture_summary(sizes, shares):
        ranks.print(line)
    drawn = {name: dataset for name, dataset in datasets.items() if name in shares}
    return Mixture(pairs, drawn, sizes, shares, left_out, evaluator, validated_on)


def mixture_summary(sizes: Mapping[str, int], shares: Mapping[str, float]) -> list[str]:
    """A line per source and task, with one per task for all mined repositories, which may be hundreds.

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


def _held_out(
    pairs: list[Pair], settings: Validation, seed: int, out: Path, ranks: "PartialState"
) -> tuple[list[Pair], "ValidationScores", dict[str, Any]]:
    """The pairs that train, the evaluator of those that are held out, and their counts."""
    from codequarry.training.evaluator import ValidationScores

    found = split(
        pairs,
        per_source_and_task=settings.pairs_per_source,
        max_pairs=settings.max_pairs,
        share=settings.share,
        seed=seed,
        progress=ranks.is_main_process,
    )
    evaluator = ValidationScores(found.by_task, dims=settings.dims, metric=settings.metric)
    ranks.print(f"{len(found.validation)} pairs held out to validate on.")
    if ranks.is_main_process:
        write_pairs(out / "validation/pairs.jsonl.gz", found.validation)
    return found.train, evaluator, {"pairs": found.validation_counts, "set_aside": found.set_aside}


def _with_negatives(pairs: list[Pair], settings: HardNegatives, out: Path, device: str) -> list[Pair]:
    """The pairs with negatives, which are mined once and kept in the run's folder."""
    from codequarry.data.hard_negatives import negatives_kept_in
    from codequarry.modules.backbone import resolve_backbone
    from codequarry.modules.embedder import CodeEmbedder

    finder = CodeEmbedder(str(resolve_backbone(settings.model)), device=device)
    chosen: dict[str, Any] = asdict(settings)
    del chosen["model"]
    return negatives_kept_in(out / "negatives", pairs, finder, finder.fingerprint, **chosen)
