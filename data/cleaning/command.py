"""`codequarry data clean`: its options, and the table it prints."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `codequarry data clean`."""
    parser.add_argument("pairs", nargs="+", type=Path, help="files of pairs, or folders of them")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for the clean pairs and clean.json; the same command goes on where it was stopped",
    )
    parser.add_argument(
        "--eval",
        dest="eval_sets",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="evaluation sets that must not be trained on: one, or a folder of them; may be given again",
    )
    parser.add_argument(
        "--tokenizer", type=Path, help="folder with the tokenizer that counts tokens (default: an estimate)"
    )
    parser.add_argument(
        "--min-tokens", type=int, default=2, help="of query and document each (default: %(default)s)"
    )
    parser.add_argument(
        "--max-tokens", type=int, default=1024, help="of query and document each (default: %(default)s)"
    )
    parser.add_argument(
        "--max-repeats",
        type=int,
        default=30,
        help="pairs of a source that may share a query or a document (default: %(default)s)",
    )
    parser.add_argument("--skip-bad", action="store_true", help="count malformed pairs instead of stopping")


def run(arguments: argparse.Namespace) -> None:
    """Clean as the parsed options say, and print the report."""
    from codequarry.data.cleaning.clean import REPORT, Limits, clean
    from codequarry.data.cleaning.report import report_table

    limits = Limits(
        min_tokens=arguments.min_tokens,
        max_tokens=arguments.max_tokens,
        max_repeats=arguments.max_repeats,
        tokenizer=arguments.tokenizer,
    )
    report = clean(
        arguments.pairs,
        arguments.out,
        eval_sets=arguments.eval_sets,
        limits=limits,
        skip_bad=arguments.skip_bad,
    )
    print(report_table(report))
    print(f"\n{report['out']:,} of {report['in']:,} pairs are in {arguments.out}; why: {REPORT}")
