"""The verb `codequarry mine`: its arguments and its printing."""

import argparse
import sys
from pathlib import Path

from codequarry.cli.source_options import add_source_options, print_left_out
from codequarry.data.mining.schema import KINDS

EXAMPLE = "codequarry mine path/to/code pallets/click --out pairs"
MORE = (
    "Writes pairs/train to train on, pairs/heldout to score with, one file per kind, and pairs/mined.json.\n"
    "\nkinds, query → document:\n"
    + "".join(f"  {kind.name:<12}{kind.query} → {kind.document}\n" for kind in KINDS.values())
    + "\nlanguages: Python, JavaScript, TypeScript, Java, Go, Rust, C, C++, Ruby, PHP, C#\n"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser what mining needs."""
    parser.add_argument(
        "where",
        nargs="+",
        metavar="PATH_OR_URL",
        help="a folder, a bare clone, owner/name on GitHub, or a URL; a checkout is read as it is",
    )
    parser.add_argument("--out", type=Path, required=True, help="where the pairs are written")
    parser.add_argument(
        "--kinds", metavar="KIND,KIND", help="which kinds of pairs (default: all that the source has)"
    )
    parser.add_argument(
        "--split",
        choices=("file", "time"),
        default="file",
        help="hold out files by a hash of their path, or what was changed last (default: file)",
    )
    parser.add_argument(
        "--holdout", type=float, default=0.2, help="share of files and commits held out (default: 0.2)"
    )
    parser.add_argument(
        "--format", choices=("jsonl", "parquet"), default="jsonl", help="of the files; JSON Lines are gzipped"
    )
    parser.add_argument("--max-pairs", type=int, metavar="N", help="at most so many of one source and kind")
    parser.add_argument("--commit", help="read the files of this commit: 40 hex digits, one repository")
    parser.add_argument(
        "--mirrors", type=Path, help="a folder of clones, owner+name or name, tried before the network"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that read files (default: 2)")
    add_source_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Mine, write, and print the tables."""
    from codequarry.data.mining.mine import mine
    from codequarry.data.mining.output import check_out, summary_table, write_mined

    check_out(arguments.out)  # before minutes are spent
    mined = mine(
        arguments.where,
        kinds=arguments.kinds.replace(",", " ").split() if arguments.kinds is not None else None,
        holdout=arguments.holdout,
        split=arguments.split,
        mirrors=arguments.mirrors,
        commit=arguments.commit,
        workers=arguments.workers,
        max_pairs=arguments.max_pairs,
        include=arguments.include,
        exclude=arguments.exclude,
    )
    print_left_out(mined.files.left_out, arguments)
    for warning in mined.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    write_mined(arguments.out, mined, arguments.format)
    print(summary_table(mined))
