"""`codequarry data negatives`: its options, and what it prints."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `codequarry data negatives`."""
    parser.add_argument("pairs", type=Path, help="a file of pairs, or a folder of them")
    parser.add_argument("--model", required=True, help="the model that finds them: a folder or a name")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="file for the pairs with negatives: .jsonl, .jsonl.gz, .parquet",
    )
    parser.add_argument(
        "--per-pair", type=int, default=1, help="negatives a pair, at most (default: %(default)s)"
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=0.05,
        help="share of the right document's score by which a negative must lie below it: what is nearer "
        "may be right too (default: %(default)s)",
    )
    parser.add_argument(
        "--absolute-margin", type=float, help="the same as a difference of cosines (default: none)"
    )
    parser.add_argument(
        "--range",
        nargs=2,
        type=int,
        default=(0, 50),
        metavar=("FROM", "TO"),
        help="the nearest documents by rank that are looked at (default: 0 50)",
    )
    parser.add_argument(
        "--across-sources", action="store_true", help="search the documents of all sources of the task"
    )
    parser.add_argument("--skip-bad", action="store_true", help="count malformed pairs instead of stopping")


def run(arguments: argparse.Namespace, load: "Callable[[str], SentenceTransformer]") -> None:
    """Mine as the parsed options say, with a model that `load` finds by its name."""
    from codequarry.data.hard_negatives import mine_negatives
    from codequarry.data.pair_files import SUFFIXES, read_pairs, write_pairs

    if not arguments.out.name.endswith(SUFFIXES):  # now, and not after an hour of mining
        raise ValueError(
            f"{arguments.out.name} has none of the endings of a pair file: {', '.join(SUFFIXES)}."
        )
    read = read_pairs(arguments.pairs, skip_bad=arguments.skip_bad)
    start, end = arguments.range
    if arguments.per_pair < 1 or not 0 <= start < end or not 0 <= arguments.margin < 1:
        raise ValueError(
            f"--per-pair {arguments.per_pair} --range {start} {end} --margin {arguments.margin}: at least "
            "one a pair, a range that begins at 0 or above, and a margin from 0 to below 1."
        )
    found = mine_negatives(
        read.pairs,
        load(arguments.model),
        per_pair=arguments.per_pair,
        margin=arguments.margin,
        absolute_margin=arguments.absolute_margin,
        range_min=start,
        range_max=end,
        across_sources=arguments.across_sources,
    )
    write_pairs(arguments.out, found)
    served = sum(bool(pair.negatives) for pair in found)
    print(f"{served:,} of {len(found):,} pairs have negatives: {arguments.out}")
    if read.skipped:
        print(f"skipped {read.skipped:,} malformed pairs.")
