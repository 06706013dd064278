"""The command `codequarry`: search your code, mine pairs from it, train on them, score, release."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import codequarry
from codequarry import train
from codequarry.cli import benchmark, mine, serve
from codequarry.cli import data as data_command
from codequarry.cli import release as release_command
from codequarry.common.errors import exit_on_user_error
from codequarry.modules.tasks import DEFAULT_TASK, TASKS, get_task

if TYPE_CHECKING:
    from codequarry.modules.embedder import CodeEmbedder


def main(argv: Sequence[str] | None = None) -> None:
    """Run one verb; an error of the user's prints one sentence and exits with 1, without a traceback."""
    arguments = _parser().parse_args(argv)
    with exit_on_user_error():
        arguments.verb(arguments)


def _search(arguments: argparse.Namespace) -> None:
    from codequarry.search.query import as_json, render, search

    get_task(arguments.task)  # before seconds are spent on loading a model
    model = _load(arguments.model, arguments.dims)
    answers = search(arguments.query, arguments.path, model, task=arguments.task, top=arguments.top)
    print(as_json(answers) if arguments.json else render(answers.hits))


def _negatives(arguments: argparse.Namespace) -> None:
    data_command.run_negatives(arguments, _load)


def _quietly(run: Callable[[argparse.Namespace], None]) -> Callable[[argparse.Namespace], None]:
    def quiet_run(arguments: argparse.Namespace) -> None:
        _quiet()
        run(arguments)

    return quiet_run


def _load(name: str, dims: int | None = None) -> "CodeEmbedder":
    from codequarry.inference.load import load

    _quiet()
    return load(name, dims=dims)


def _quiet() -> None:
    """No bar for every file that transformers reads or writes; the bars of long work stay."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()


_TASK_LIST = "\n".join(
    f"  {task.name:<16} {task.searches_with} → {task.searches_for}" for task in TASKS.values()
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="codequarry", description="Code embeddings on your own repository.")
    parser.add_argument("--version", action="version", version=f"codequarry {codequarry.__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    search = _verb(
        verbs,
        "search",
        "search a folder of code",
        'codequarry search "where are retries configured" path/to/code',
        f"tasks, what is searched with → what is found:\n{_TASK_LIST}\n",
    )
    search.add_argument("query", help="what to look for: plain words, or code for the code2… tasks")
    search.add_argument("path", type=Path, nargs="?", default=Path(), help="the folder (default: this one)")
    search.add_argument("--task", default=DEFAULT_TASK, help="one of the tasks below (default: %(default)s)")
    search.add_argument("--top", type=int, default=10, help="how many answers (default: %(default)s)")
    search.add_argument("--model", default="mini", help="mini, a model folder or a Hub name (default: mini)")
    search.add_argument("--dims", type=int, help="one of the model's Matryoshka dimensions")
    search.add_argument("--json", action="store_true", help="print JSON, one object with all answers")
    search.set_defaults(verb=_search)

    verb = _verb(
        verbs, "mine", "make training pairs from folders of code and repositories", mine.EXAMPLE, mine.MORE
    )
    mine.add_arguments(verb)
    verb.set_defaults(verb=mine.run)

    data = verbs.add_parser("data", help="build and clean training pairs and evaluation sets")
    steps = data.add_subparsers(required=True, metavar="STEP")
    build = _verb(
        steps, "build", "make pairs or evaluation sets from their public sources", data_command.BUILD_EXAMPLE
    )
    data_command.add_build_arguments(build)
    build.set_defaults(verb=data_command.run_build)
    verb = _verb(
        steps,
        "clean",
        "leave out repeats, and whatever occurs in an evaluation set",
        "codequarry data clean train pairs/train --eval eval --out clean",
    )
    data_command.add_clean_arguments(verb)
    verb.set_defaults(verb=data_command.run_clean)
    verb = _verb(
        steps,
        "negatives",
        "give pairs documents that look right and are wrong",
        "codequarry data negatives clean --model mini --out with-negatives.jsonl.gz",
    )
    data_command.add_negatives_arguments(verb)
    verb.set_defaults(verb=_negatives)

    verb = _verb(
        verbs,
        "train",
        "train a model by a recipe; the same command resumes",
        "codequarry train own --out runs/own --set data=pairs/train",
    )
    train.add_arguments(verb)
    verb.set_defaults(verb=train.run)

    verb = _verb(
        verbs,
        "benchmark",
        "score models beside BM25: on public sets, held-out pairs, or your own repository",
        "codequarry benchmark mini --repo path/to/code",
    )
    benchmark.add_arguments(verb)
    verb.set_defaults(verb=benchmark.run)

    release = verbs.add_parser("release", help="build a folder that every runtime reads, and prove it")
    steps = release.add_subparsers(required=True, metavar="STEP")
    build = _verb(steps, "build", "make the release of a finished run", release_command.BUILD_EXAMPLE)
    release_command.add_build_arguments(build)
    build.set_defaults(verb=_quietly(release_command.run_build))
    adapter = _verb(
        steps, "adapter", "pack the adapter of a LoRA run by itself", release_command.ADAPTER_EXAMPLE
    )
    release_command.add_adapter_arguments(adapter)
    adapter.set_defaults(verb=_quietly(release_command.run_adapter))
    verify = _verb(
        steps,
        "verify",
        "check every file, field and vector of a release, in every runtime",
        release_command.VERIFY_EXAMPLE,
        release_command.VERIFY_MORE,
    )
    release_command.add_verify_arguments(verify)
    verify.set_defaults(verb=_quietly(release_command.run_verify))
    publish = _verb(
        steps,
        "publish",
        "put a release on the Hub, and tag it once it is proven there",
        release_command.PUBLISH_EXAMPLE,
        release_command.PUBLISH_MORE,
    )
    release_command.add_publish_arguments(publish)
    publish.set_defaults(verb=_quietly(release_command.run_publish))

    verb = _verb(verbs, "serve", "answer with vectors over HTTP", serve.EXAMPLE, serve.MORE)
    serve.add_arguments(verb)
    verb.set_defaults(verb=_quietly(serve.run))

    card = _verb(
        verbs,
        "card",
        "write a release's card anew, with what has been measured since",
        release_command.CARD_EXAMPLE,
        release_command.CARD_MORE,
    )
    release_command.add_card_arguments(card)
    card.set_defaults(verb=release_command.run_card)
    return parser


def _verb(verbs: Any, name: str, what: str, example: str, more: str = "") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.\n\n  {example}",
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


if __name__ == "__main__":
    main()
