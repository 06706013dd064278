"""The options on which files of a tree are read, and what is printed of those that are not."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codequarry.data.parsing.source_report import LeftOut


def add_source_options(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """Give a parser, or a group of its options, `--include`, `--exclude` and `--list-skipped`."""
    pattern = "may be repeated; a pattern as in a .gitignore"
    parser.add_argument(
        "--include",
        action="append",
        default=[],
        metavar="PATTERN",
        help=f"also read these files and folders, which would be left out; {pattern}",
    )
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help=f"leave out these files and folders; {pattern}",
    )
    parser.add_argument(
        "--list-skipped",
        action="store_true",
        help="name every file and folder that is left out, and why, on standard error",
    )


def print_left_out(left_out: "Sequence[LeftOut]", arguments: argparse.Namespace) -> None:
    """Say on standard error what was left out: one line, or each by name."""
    from codequarry.data.parsing.source_report import listing, summary_line

    if line := summary_line(left_out):
        print(line, file=sys.stderr)
    if arguments.list_skipped:
        for one in listing(left_out):
            print(one, file=sys.stderr)
