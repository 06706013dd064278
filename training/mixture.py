"""The pairs of a run: read, selected, split for validation, given negatives, and made into data sets."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codequarry.common.errors import UserError, some
from codequarry.data.catalog.registry import known_licences
from codequarry.data.catalog.schema import Licence
from codequarry.data.mixture import batch_shares, datasets_of, select, source_of, task_of
from codequarry.data.pair import Pair
from codequarry.data.pair_files import fingerprint_folders, read_pair_folders, write_pairs
from codequarry.data.validation_split import REPOSITORIES, split
from codequarry.recipes.schema import HardNegatives, Recipe, Validation

if TYPE_CHECKING:
    from accelerate import PartialState
    from datasets import Dataset

    from codequarry.training.evaluator import ValidationScores


_ENOUGH = 100  # pairs to choose a checkpoint by: the score's standard error is then 5 points at most


@dataclass
class SelectedPairs:
    """The pairs of a recipe's data that its licences and caps admit; see `read_selected`.

    left_out: reasons, by source or `source:task`.
    skipped: malformed pairs.
    data_sha256: of all pair files.
    notes: sentences on columns that were renamed or passed over.
    """

    pairs: list[Pair]
    left_out: dict[str, str]
    licences: Mapping[str, Licence]
    skipped: int
    data_sha256: str
    notes: tuple[str, ...] = ()


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
    repositories: pairs of each mined repository that are together in one source; {} where none are.
    """

    pairs: list[Pair]
    datasets: dict[str, "Dataset"]
    sizes: dict[str, int]
    shares: dict[str, float]
    left_out: dict[str, str]
    evaluator: "ValidationScores | None"
    validated_on: dict[str, Any]
    repositories: dict[str, int] = field(default_factory=dict)


def read_selected(recipe: Recipe, *, skip_bad: bool = False) -> SelectedPairs:
    """Read the pairs of a recipe and select by licence and cap, without loading torch.

    Arguments: `skip_bad`, count malformed pairs instead of stopping at the first.

    Raises UserError for data that cannot be read.
    """
    data = Path(recipe.data)
    found = read_pair_folders(
        data, subfolders=recipe.subfolders, columns=recipe.columns, task=recipe.task, skip_bad=skip_bad
    )
    data_sha256 = fingerprint_folders(data, subfolders=recipe.subfolders)
    licences = known_licences()
    pairs, left_out = select(
        found.pairs,
        licences=licences,
        allowed=recipe.licences,
        max_pairs=recipe.max_pairs_per_source,
        seed=recipe.seed,
    )
    return SelectedPairs(pairs, left_out, licences, found.skipped, data_sha256, found.notes)


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
    for note in selected.notes:
        ranks.print(note)
    if selected.skipped:
        ranks.print(f"skipped {selected.skipped} malformed pairs.")
    evaluator: ValidationScores | None = None
    validated_on: dict[str, Any] = {}
    if recipe.validation is not None:
        pairs, evaluator, validated_on = _held_out(pairs, recipe.validation, recipe.seed, out, ranks)
    repositories: dict[str, int] = {}
    if recipe.repositories_together:
        repositories = dict(sorted(Counter(pair.source for pair in pairs if "/" in pair.source).items()))
        pairs = [replace(pair, source=REPOSITORIES) if "/" in pair.source else pair for pair in pairs]
    left_out: dict[str, str] = {}
    _leave_out(left_out, selected.left_out, ranks)
    if recipe.hard_negatives is not None:
        # Mining takes minutes: what cannot fill a batch is found before a model is loaded for it.
        _leave_out(left_out, _full_batches([replace(pair, negatives=()) for pair in pairs], recipe)[1], ranks)
        with ranks.main_process_first():
            pairs = _with_negatives(pairs, recipe.hard_negatives, out, device)
    datasets, unused = _full_batches(pairs, recipe)
    _leave_out(left_out, unused, ranks)
    sizes = {name: len(dataset) for name, dataset in datasets.items()}
    shares = batch_shares(sizes, recipe.mixture_exponent, recipe.source_weights)
    for line in mixture_summary(sizes, shares, recipe.max_steps):
        ranks.print(line)
    drawn = {name: dataset for name, dataset in datasets.items() if name in shares}
    return Mixture(pairs, drawn, sizes, shares, left_out, evaluator, validated_on, repositories)


def mixture_summary(
    sizes: Mapping[str, int], shares: Mapping[str, float], steps: int | None = None
) -> list[str]:
    """A line per source and task, with one per task for all mined repositories, which may be hundreds.

    Arguments: `sizes`, pairs by `source:task`; `shares`, of the batches, of those that are drawn; `steps`, of
    the run: a line names the sources whose share of them is no whole batch; None: no such line.
    """
    from codequarry.training.batch_sampler import apportioned

    lines = []
    for title, names in _titles(shares).items():
        pairs, share = (sum(numbers[name] for name in names) for numbers in (sizes, shares))
        of = f" of {len(names)}" if title not in shares else ""
        lines.append(f"{title}: {pairs:,} pairs{of}, {share:.1%} of the batches")
    turns = dict(zip(shares, apportioned(steps or 0, list(shares.values())), strict=True))
    if steps and (without := [name for name, count in turns.items() if not count]):
        lines.append(
            f"max_steps = {steps} is less than one step for {len(without)} of {len(shares)} sources, which "
            f"are not drawn: {some(without)}."
        )
    return lines


def drawn_summary(shares: Mapping[str, float], drawn: Mapping[str, int]) -> list[str]:
    """A line per source and task as in `mixture_summary`: the batches drawn beside the share announced.

    Arguments: `shares`, of the batches; `drawn`, batches, both by `source:task`.
    """
    total = max(sum(drawn.values()), 1)
    lines = []
    for title, names in _titles(shares).items():
        share, count = sum(shares[name] for name in names), sum(drawn.get(name, 0) for name in names)
        batches = "batch" if count == 1 else "batches"
        lines.append(f"{title}: {count:,} {batches} drawn, {count / total:.1%} (announced {share:.1%})")
    return lines


def _titles(shares: Mapping[str, float]) -> dict[str, list[str]]:
    """The parts, mined repositories together under one title per task."""
    parts: dict[str, list[str]] = defaultdict(list)
    for name in shares:
        mined = "/" in source_of(name)
        parts[f"mined repositories:{task_of(name)}" if mined else name].append(name)
    return parts


def _leave_out(known: dict[str, str], more: Mapping[str, str], ranks: "PartialState") -> None:
    """Add reasons, and print those that are new."""
    for name, reason in more.items():
        if name not in known:
            ranks.print(f"left out: {name}: {reason}.")
    known |= more


def _full_batches(pairs: list[Pair], recipe: Recipe) -> tuple[dict[str, "Dataset"], dict[str, str]]:
    """One data set for each source and task that fills a batch, and why the others do not.

    Raises UserError where none does, with a batch size that works.
    """
    from codequarry.training.batch_sampler import NoTextTwice

    size = recipe.batch_size
    datasets, small = datasets_of(pairs, size, seed=recipe.seed)
    unused = {name: f"{count} pairs, fewer than one batch of {size}" for name, count in small.items()}
    fitting = [count // 2 for count in small.values()]
    repeat = recipe.objective.false_negatives.same_document
    for name in list(datasets):
        together = NoTextTwice(datasets[name], size, recipe.seed, negatives_repeat=repeat).rows_together()
        if together < size:
            unused[name] = (
                f"{len(datasets.pop(name)):,} pairs, whose texts repeat so much that no more than {together} "
                f"pairs have none in common, fewer than one batch of {size}"
            )
            fitting.append(together)
    if not datasets:
        reasons = "".join(f" {name}: {reason}." for name, reason in list(unused.items())[:5])
        smaller = max(fitting, default=0)
        raise UserError(
            f"no source in {recipe.data} fills one batch of {size} pairs: mine more code"
            + (f", or pass --set batch_size={smaller}." if smaller >= 2 else ".")
            + reasons
        )
    return datasets, unused


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
    ranks.print(validation_line(len(found.validation), settings.keep))
    if ranks.is_main_process:
        write_pairs(out / "validation/pairs.jsonl.gz", found.validation)
    return found.train, evaluator, {"pairs": found.validation_counts, "set_aside": found.set_aside}


def validation_line(pairs: int, keep: str) -> str:
    """How many pairs are held out, and whether they are enough to choose a checkpoint by.

    Arguments: `keep`, of the recipe's [validation].
    """
    line = f"{pairs} pairs held out to validate on."
    if keep == "last" or pairs >= _ENOUGH:
        return line
    # A query's nDCG@10 is between 0 and 1: its standard deviation is 0.5 at most.
    chance = 50 / pairs**0.5
    return (
        f"{line} The best checkpoint is chosen by these few: nDCG@10 of {pairs} pairs varies by chance by "
        f"up to ±{chance:.0f} points, and under {_ENOUGH} pairs that is often more than checkpoints differ "
        "by. Mine more code, raise validation.share, or pass --set validation.keep=last."
    )


def _with_negatives(pairs: list[Pair], settings: HardNegatives, out: Path, device: str) -> list[Pair]:
    """The pairs with negatives, which are mined once and kept in the run's folder."""
    from codequarry.data.hard_negatives import negatives_kept_in
    from codequarry.modules.backbone import resolve_backbone
    from codequarry.modules.embedder import CodeEmbedder

    finder = CodeEmbedder(str(resolve_backbone(settings.model)), device=device)
    chosen: dict[str, Any] = asdict(settings)
    del chosen["model"]
    return negatives_kept_in(out / "negatives", pairs, finder, finder.fingerprint, **chosen)
