"""What the training speed benchmark prints: tables, warnings, and published runs to compare with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codequarry.common.tables import markdown_table

BUSY = 0.5  # load average beyond the threads measured with, above which figures are not to be trusted


def speed_table(record: Mapping[str, Any]) -> str:
    """The results as a Markdown table, for the terminal and the README."""
    head = [
        "model",
        "trainer",
        "seconds a step",
        "pairs/s",
        "tokens a step",
        "of the matmul peak",
        "times stock",
    ]
    lines = []
    for part in record["parts"].values():
        model = f"`{part['recipe']}` {part['format']}, {part['max_length']} tokens"
        if part["lengths"] == "longest":
            model += ", all texts that long"
        for row in part["rows"]:
            if "failed" in row:
                lines.append([model, row["trainer"], f"failed: {row['failed']}", *[""] * 4])
                continue
            seconds = row[f"{part['clock']}_seconds"]
            times = row.get("times_stock")
            lines.append(
                [
                    model,
                    row["trainer"],
                    f"{seconds['median']:.2f}",
                    f"{row['pairs_per_second']:.1f}",
                    f"{row['tokens']['median']:,.0f}",
                    f"{row['of_matmul_peak']['median']:.0%}",
                    f"**{times['median']:.1f}** ({times['low']:.1f} to {times['high']:.1f})"
                    if times
                    else "1",
                ]
            )
    return markdown_table(head, lines, words=("trainer",))


def run_table(record: Mapping[str, Any]) -> str:
    """Projected whole runs beside the published ones as a Markdown table; what was not measured says so."""
    head = ["model", "texts", "projected hours", "peak memory", "the paper's hours", "on"]
    lines = []
    for name in ON_GPU:
        published = PUBLISHED[name]
        theirs = [f"{published.hours:g}", f"{published.gpus} {published.gpu}"]
        parts = [part for part in record["parts"].values() if part["recipe"] == name]
        for part in parts:
            ours = next(row for row in part["rows"] if row["trainer"] == OURS)
            run = part["run"]
            texts = "all at the limit" if part["lengths"] == "longest" else "as they are"
            hours = f"{run['projected_hours']:.2f} for {run['steps']:,} steps"
            lines.append([f"`{name}`", texts, hours, f"{ours['peak_memory'] / 1e9:.0f} GB", *theirs])
        if not parts:
            lines.append([f"`{name}`", "", "not measured", "", *theirs])
    return markdown_table(head, lines, words=("texts", "on"))


def warnings_of(part: Mapping[str, Any], name: str, threads: int) -> list[str]:
    """Sentences on what makes a part's figures doubtful; none where nothing does."""
    found = []
    if max(part["load_before"], part["load_after"]) > threads + BUSY and part["device"] == "cpu":
        found.append(
            f"{name}: the machine was busy, its load average {part['load_before']} before and "
            f"{part['load_after']} after: measure again when it is quiet, with --fresh."
        )
    found += [
        f"{name}: losses of {row['trainer']} and {STOCK} are up to {row['losses_apart']:.1e} apart, more "
        f"than rounding: they do not train the same."
        for row in part["rows"]
        if not row.get("losses_agree", True)
    ]
    return found


@dataclass(frozen=True)
class PublishedTraining:
    """One training run of a paper.

    recipe: ours of the same size. hours: of all GPUs together, by the clock.
    """

    recipe: str
    model: str
    hours: float
    gpus: int
    gpu: str
    source: str


PUBLISHED = {
    row.recipe: row
    for row in (
        PublishedTraining(
            "0.5b", "jina-code-embeddings-0.5b", 8.3, 4, "A100 80 GB", "https://arxiv.org/abs/2508.21290"
        ),
        PublishedTraining(
            "1.5b", "jina-code-embeddings-1.5b", 12.0, 4, "A100 80 GB", "https://arxiv.org/abs/2508.21290"
        ),
    )
}

STOCK, OURS, CACHED = "sentence-transformers", "ours", "ours, GradCache"

ON_CPU, ON_GPU = ("nano", "mini"), ("0.5b", "1.5b")
