"""`codequarry data build`: its options, and the table it prints."""

import argparse
from pathlib import Path

BUILD_EXAMPLE = "codequarry data build eval --out eval --sets mbpp completion_py"


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `codequarry data build`, with a verb below it for either side of the data."""
    sides = parser.add_subparsers(dest="side", required=True, metavar="eval|train")
    _add_eval(sides)
    _add_train(sides)


def run_build(arguments: argparse.Namespace) -> None:
    """Build as the parsed options say, and print the table."""
    if arguments.side == "train":
        from codequarry.data.sources.build_train import build_train
        from codequarry.data.sources.build_train import summary_table as train_table

        build = build_train(
            arguments.out,
            names=arguments.sources,
            mirrors=arguments.mirrors,
            licences=arguments.licences,
            mined=not arguments.no_mined,
            max_pairs_per_repository=arguments.max_pairs,
            skip_unreachable=arguments.skip_unreachable,
        )
        print(train_table(build))
    else:
        from codequarry.data.sources.build_eval import build_eval, summary_table

        print(summary_table(build_eval(arguments.out, arguments.sets, arguments.mirrors, arguments.index)))


def _add_eval(sides: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = sides.add_parser(
        "eval",
        help="evaluation sets, each a folder in the BEIR layout",
        description=(
            "Make the evaluation sets from their public sources, at recorded commits and versions. Each set "
            "is a folder with corpus.jsonl, queries.jsonl, qrels/test.tsv, and set.json, which says where it "
            "comes from and under which licence. A set that is there already is kept."
        ),
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for the sets; the same command goes on where it stopped",
    )
    parser.add_argument("--sets", nargs="+", metavar="SET", help="only these (default: all)")
    parser.add_argument(
        "--mirrors", type=Path, help="folder of clones, owner+name or name, tried before the network"
    )
    parser.add_argument(
        "--index",
        metavar="URL_OR_FOLDER",
        help="package index, or folder with the source distributions (default: the index pip is set to)",
    )


def _add_train(sides: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = sides.add_parser(
        "train",
        help="training pairs, a file a source",
        description=(
            "Make the training pairs from their public sources, at recorded commits. Each source is a file "
            "of pairs, and build.json says which row made it. A file that is there already is kept."
        ),
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for the pairs; the same command goes on where it stopped",
    )
    parser.add_argument(
        "--sources",
        nargs="+",
        metavar="SOURCE",
        help="only these: names of sources, owner/name of mined repositories (default: all but the Hub's)",
    )
    parser.add_argument(
        "--mirrors", type=Path, help="folder of clones, owner+name or name, tried before the network"
    )
    parser.add_argument(
        "--licences",
        choices=("permissive", "commercial", "any"),
        default="commercial",
        help="permissive: nothing share-alike; commercial: nothing that forbids it (default: %(default)s)",
    )
    parser.add_argument("--no-mined", action="store_true", help="no pairs mined from repositories")
    parser.add_argument(
        "--max-pairs",
        type=int,
        default=7000,
        metavar="N",
        help="of one mined repository (default: %(default)s)",
    )
    parser.add_argument(
        "--skip-unreachable", action="store_true", help="leave out a set on the Hub that cannot be read"
    )
