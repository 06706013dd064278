"""The command `codequarry`: search your code, mine pairs from it, train on them, score, release."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import codequarry
from codequarry import train
from codequarry.cli import benchmark, data, embed, mine, release, search, serve
from codequarry.common.errors import exit_on_user_error, torch_as_extra


@dataclass(frozen=True)
class Verb:
    """One command, as its file in `cli/` defines it.

    name: of one or two words. what: it does, for `--help`. more: below the options in `--help`.
    hides_bars: those that transformers shows per file it reads or writes; bars of long work stay.
    """

    name: str
    what: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]
    more: str = ""
    hides_bars: bool = False


GROUPS = {
    "data": "build and clean training pairs and evaluation sets",
    "release": "build a folder that every runtime reads, and prove it",
}

VERBS = (
    Verb(
        "search",
        "search a folder of code",
        search.EXAMPLE,
        search.add_arguments,
        search.run,
        search.MORE,
    ),
    Verb(
        "embed",
        "turn many texts, or a folder of code, into files of vectors; the same command resumes",
        embed.EXAMPLE,
        embed.add_arguments,
        embed.run,
        embed.MORE,
    ),
    Verb(
        "mine",
        "make training pairs from folders of code and repositories",
        mine.EXAMPLE,
        mine.add_arguments,
        mine.run,
        mine.MORE,
    ),
    Verb(
        "data build",
        "make pairs or evaluation sets from their public sources",
        data.BUILD_EXAMPLE,
        data.add_build_arguments,
        data.run_build,
    ),
    Verb(
        "data clean",
        "leave out repeats, and whatever occurs in an evaluation set",
        "codequarry data clean train pairs/train --eval eval --out clean",
        data.add_clean_arguments,
        data.run_clean,
    ),
    Verb(
        "data consistency",
        "keep the pairs whose document a model ranks well, and no better than asked",
        "codequarry data consistency clean --model mini --ranks 2 20 --out chosen.jsonl.gz",
        data.add_consistency_arguments,
        data.run_consistency,
    ),
    Verb(
        "data negatives",
        "give pairs documents that look right and are wrong",
        "codequarry data negatives clean --model mini --out with-negatives.jsonl.gz",
        data.add_negatives_arguments,
        data.run_negatives,
        hides_bars=True,
    ),
    Verb(
        "train",
        "train a model by a recipe; the same command resumes",
        "codequarry train own --out runs/own --set data=pairs/train",
        train.add_arguments,
        train.run,
    ),
    Verb(
        "benchmark",
        "score models and BM25: on public sets, held-out pairs, or your own repository",
        "codequarry benchmark mini --repo path/to/code",
        benchmark.add_arguments,
        benchmark.run,
        hides_bars=True,
    ),
    Verb(
        "release build",
        "make the release of a finished run",
        release.BUILD_EXAMPLE,
        release.add_build_arguments,
        release.run_build,
        hides_bars=True,
    ),
    Verb(
        "release adapter",
        "pack the adapter of a LoRA run by itself",
        release.ADAPTER_EXAMPLE,
        release.add_adapter_arguments,
        release.run_adapter,
        hides_bars=True,
    ),
    Verb(
        "release verify",
        "check every file, field and vector of a release, in every runtime",
        release.VERIFY_EXAMPLE,
        release.add_verify_arguments,
        release.run_verify,
        release.VERIFY_MORE,
        hides_bars=True,
    ),
    Verb(
        "release publish",
        "put a release on the Hub, and tag it once it is proven there",
        release.PUBLISH_EXAMPLE,
        release.add_publish_arguments,
        release.run_publish,
        release.PUBLISH_MORE,
        hides_bars=True,
    ),
    Verb(
        "serve",
        "answer with vectors over HTTP",
        serve.EXAMPLE,
        serve.add_arguments,
        serve.run,
        serve.MORE,
    ),
    Verb(
        "card",
        "write a release's card anew, with what has been measured since",
        release.CARD_EXAMPLE,
        release.add_card_arguments,
        release.run_card,
        release.CARD_MORE,
    ),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one verb; an error of the user's prints one sentence and exits with 1, without a traceback."""
    arguments = _parser().parse_args(argv)
    verb: Verb = arguments.verb
    with exit_on_user_error(), torch_as_extra(f"codequarry {verb.name}"):
        if verb.hides_bars:
            from transformers.utils.logging import disable_progress_bar

            disable_progress_bar()
        verb.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="codequarry", description="Code embeddings on your own repository.")
    parser.add_argument("--version", action="version", version=f"codequarry {codequarry.__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    groups: dict[str, Any] = {}
    for verb in VERBS:
        group, _, step = verb.name.rpartition(" ")
        if group and group not in groups:
            parent = verbs.add_parser(group, help=GROUPS[group])
            groups[group] = parent.add_subparsers(required=True, metavar="STEP")
        one = groups.get(group, verbs).add_parser(
            step,
            help=verb.what,
            description=f"{verb.what[0].upper()}{verb.what[1:]}.\n\n  {verb.example}",
            epilog=verb.more,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add_arguments(one)
        one.set_defaults(verb=verb)
    return parser


if __name__ == "__main__":
    main()
