"""`codequarry data`: build, clean, consistency and negatives, each with its options and what it prints."""

import argparse
from pathlib import Path

from codequarry.common.errors import UserError
from codequarry.data.pair_columns import offer_columns


def add_negatives_arguments(parser: argparse.ArgumentParser) -> None:
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
        "--per-pair", type=int, default=1, help="negatives per pair, at most (default: %(default)s)"
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
    offer_columns(parser)


def run_negatives(arguments: argparse.Namespace) -> None:
    """Mine as the parsed options say."""
    from codequarry.data.hard_negatives import mine_negatives
    from codequarry.data.pair_files import check_suffix, read_pairs, write_pairs
    from codequarry.inference.load import load

    check_suffix(arguments.out)  # now, and not after an hour of mining
    read = read_pairs(
        arguments.pairs,
        columns=arguments.columns,
        task=arguments.task,
        skip_bad=arguments.skip_bad,
    )
    for note in read.notes:
        print(note)
    start, end = arguments.range
    if arguments.per_pair < 1 or not 0 <= start < end or not 0 <= arguments.margin < 1:
        raise UserError(
            f"--per-pair {arguments.per_pair} --range {start} {end} --margin {arguments.margin}: at least "
            "one per pair, a range that begins at 0 or above, and a margin from 0 to below 1."
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


def add_consistency_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `codequarry data consistency`."""
    parser.add_argument("pairs", type=Path, help="a file of pairs, or a folder of them")
    parser.add_argument("--model", required=True, help="the model that ranks: a folder or a name")
    parser.add_argument(
        "--out", type=Path, required=True, help="file for the pairs that stay: .jsonl, .jsonl.gz, .parquet"
    )
    parser.add_argument(
        "--ranks",
        nargs=2,
        type=int,
        default=(1, 20),
        metavar=("FROM", "TO"),
        help="the ranks of its document, among others of its source, at which a pair stays; from 2, what the "
        "model finds at once is left out too (default: 1 20)",
    )
    parser.add_argument(
        "--among",
        type=int,
        default=1000,
        help="documents that each is ranked among, at most (default: %(default)s)",
    )
    offer_columns(parser)


def run_consistency(arguments: argparse.Namespace) -> None:
    """Rank and select as the parsed options say, and print a line per source."""
    from codequarry.data.consistency import consistency_table, document_ranks
    from codequarry.data.pair_files import check_suffix, read_pairs, write_pairs
    from codequarry.inference.load import load

    check_suffix(arguments.out)
    first, last = arguments.ranks
    if not 1 <= first <= last:
        raise UserError(f"--ranks {first} {last}: the first is 1 or more, the last not below it.")
    read = read_pairs(
        arguments.pairs, columns=arguments.columns, task=arguments.task, skip_bad=arguments.skip_bad
    )
    for note in read.notes:
        print(note)
    ranks = document_ranks(read.pairs, load(arguments.model), among=arguments.among)
    kept = [pair for pair, rank in zip(read.pairs, ranks, strict=True) if first <= rank <= last]
    if not kept:
        raise UserError(f"No pair's document has a rank from {first} to {last}: widen --ranks.")
    write_pairs(arguments.out, kept)
    print(consistency_table(read.pairs, ranks, first, last))
    print(f"{len(kept):,} of {len(read.pairs):,} pairs stay: {arguments.out}")
    if read.skipped:
        print(f"skipped {read.skipped:,} malformed pairs.")


def add_clean_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `codequarry data clean`."""
    parser.add_argument("pairs", nargs="+", type=Path, help="files of pairs, or folders of them")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for the clean pairs and clean.json; the same command resumes where it was stopped",
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
    offer_columns(parser)


def run_clean(arguments: argparse.Namespace) -> None:
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
        columns=arguments.columns,
        task=arguments.task,
        skip_bad=arguments.skip_bad,
    )
    for note in report.get("notes", ()):
        print(note)
    print(report_table(report))
    print(f"\n{report['out']:,} of {report['in']:,} pairs are in {arguments.out}; why: {REPORT}")


BUILD_EXAMPLE = "codequarry data build eval --out eval --sets mbpp completion_py"


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `codequarry data build`, with a verb below it for either side of the data."""
    sides = parser.add_subparsers(dest="side", required=True, metavar="eval|train")
    sets = sides.add_parser(
        "eval",
        help="evaluation sets, each a folder in the BEIR layout",
        description=(
            "Make the evaluation sets from their public sources, at recorded commits and versions. Each set "
            "is a folder with corpus.jsonl, queries.jsonl, qrels/test.tsv, and set.json, which says where it "
            "comes from and under which licence. A set that is there already is kept."
        ),
    )
    pairs = sides.add_parser(
        "train",
        help="training pairs, one file per source",
        description=(
            "Make the training pairs from their public sources, at recorded commits. Each source is a file "
            "of pairs, and build.json says which row made it. A file that is there already is kept."
        ),
    )
    for side, what in ((sets, "sets"), (pairs, "pairs")):
        side.add_argument(
            "--out",
            type=Path,
            required=True,
            help=f"folder for the {what}; the same command resumes where it stopped",
        )
        side.add_argument(
            "--mirrors", type=Path, help="folder of clones, owner+name or name, tried before the network"
        )
    sets.add_argument("--sets", nargs="+", metavar="SET", help="only these (default: all)")
    sets.add_argument(
        "--index",
        metavar="URL_OR_FOLDER",
        help="package index, or folder with the source distributions (default: the index pip is set to)",
    )
    pairs.add_argument(
        "--sources",
        nargs="+",
        metavar="SOURCE",
        help="only these: names of sources, owner/name of mined repositories (default: all but the Hub's)",
    )
    pairs.add_argument(
        "--licences",
        choices=("permissive", "commercial", "any"),
        default="commercial",
        help="permissive: nothing share-alike; commercial: nothing that forbids it (default: %(default)s)",
    )
    pairs.add_argument("--no-mined", action="store_true", help="no pairs mined from repositories")
    pairs.add_argument(
        "--max-pairs",
        type=int,
        default=7000,
        metavar="N",
        help="of one mined repository (default: %(default)s)",
    )
    pairs.add_argument(
        "--skip-unreachable", action="store_true", help="leave out a set on the Hub that cannot be read"
    )


def run_build(arguments: argparse.Namespace) -> None:
    """Build as the parsed options say, and print the table."""
    if arguments.side == "train":
        from codequarry.data.catalog.build import build_train, train_table

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
        from codequarry.data.catalog.build import build_eval, eval_table

        print(eval_table(build_eval(arguments.out, arguments.sets, arguments.mirrors, arguments.index)))
