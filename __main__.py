"""The command `codequarry`: search your code, mine pairs from it, train on them, score, release."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import codequarry
from codequarry.modules.tasks import DEFAULT_TASK, TASKS, get_task
from codequarry.train import add_arguments as add_training_arguments
from codequarry.train import run as run_training

if TYPE_CHECKING:
    from codequarry.modules.embedder import CodeEmbedder


def main(argv: Sequence[str] | None = None) -> None:
    """Run one verb; a mistake of the user's ends with a sentence and exit code 1, not with a traceback."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.verb(arguments)
    except ValueError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `codequarry search … | head` closed our output
        sys.stderr.close()


def _search(arguments: argparse.Namespace) -> None:
    from codequarry.search.answers import as_json, render
    from codequarry.search.query import search

    get_task(arguments.task)  # before seconds are spent on loading a model
    model = _load(arguments.model, arguments.dims)
    answers = search(arguments.query, arguments.path, model, task=arguments.task, top=arguments.top)
    print(as_json(answers) if arguments.json else render(answers.hits))


def _mine(arguments: argparse.Namespace) -> None:
    from codequarry.data.mined_files import summary_table, write_mined
    from codequarry.data.mining import mine

    mined = mine(arguments.paths, holdout=arguments.holdout)
    write_mined(arguments.out, mined)
    print(summary_table(mined))


def _benchmark(arguments: argparse.Namespace) -> None:
    from codequarry.benchmarks.quality import retrieval_sets, score_bm25, score_model, table, write_results
    from codequarry.data.pair_files import read_pairs

    sets = retrieval_sets(read_pairs(arguments.pairs).pairs)
    rows = score_bm25(sets)
    for name in arguments.models:
        rows += score_model(name, _load(name), sets)
    print(table(rows))
    if arguments.out is not None:
        command = f"codequarry benchmark {' '.join(arguments.models)} --pairs {arguments.pairs}"
        write_results(arguments.out, rows, benchmark=f"held-out pairs of {arguments.pairs}", command=command)


def _release_build(arguments: argparse.Namespace) -> None:
    from codequarry.release.build import build

    _quiet()
    build(
        arguments.run,
        arguments.out,
        dtype=arguments.dtype,
        results=arguments.results,
        replace=arguments.replace,
    )
    print(f"built {arguments.out}; next: codequarry release verify {arguments.out}")


def _release_verify(arguments: argparse.Namespace) -> None:
    from codequarry.release.verify import verify

    _quiet()
    verification = verify(arguments.folder, pythons=arguments.pythons)
    print(verification.table())
    if not verification.ok:
        sys.exit(1)


def _load(name: str, dims: int | None = None) -> "CodeEmbedder":
    from codequarry.modules.load import load

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
    search.add_argument("--dims", type=int, help="numbers a vector, one of the model's trained dimensions")
    search.add_argument("--json", action="store_true", help="print JSON, one object with all answers")
    search.set_defaults(verb=_search)

    mine = _verb(
        verbs,
        "mine",
        "make training pairs from folders of code",
        "codequarry mine path/to/code --out pairs",
        "Writes pairs/train to train on, pairs/heldout (other files) to score with, and pairs/mined.json.\n",
    )
    mine.add_argument("paths", type=Path, nargs="+", metavar="path", help="a folder of code")
    mine.add_argument("--out", type=Path, required=True, help="where the pairs are written")
    mine.add_argument("--holdout", type=float, default=0.2, help="share of files held out (default: 0.2)")
    mine.set_defaults(verb=_mine)

    train = _verb(
        verbs,
        "train",
        "train a model by a recipe; the same command resumes",
        "codequarry train mini --out runs/mini --set data=pairs/train --set max_steps=200",
    )
    add_training_arguments(train)
    train.set_defaults(verb=run_training)

    benchmark = _verb(
        verbs,
        "benchmark",
        "score models on held-out pairs, beside BM25",
        "codequarry benchmark mini runs/mini --pairs pairs/heldout --out results.json",
    )
    benchmark.add_argument("models", nargs="+", metavar="model", help="mini, a model folder or a Hub name")
    benchmark.add_argument(
        "--pairs", type=Path, required=True, help="a file or folder of pairs not trained on"
    )
    benchmark.add_argument("--out", type=Path, help="write the figures to this JSON file, for the model card")
    benchmark.set_defaults(verb=_benchmark)

    release = verbs.add_parser("release", help="build a folder that every runtime reads, and prove it")
    steps = release.add_subparsers(required=True, metavar="STEP")
    build = _verb(
        steps,
        "build",
        "make the release of a finished run",
        "codequarry release build runs/mini --out releases/mini --results results.json",
    )
    build.add_argument("run", type=Path, help="the folder that training left")
    build.add_argument("--out", type=Path, required=True, help="the release folder")
    build.add_argument(
        "--dtype", choices=["fp32", "bf16"], default="fp32", help="of the weights (default: fp32)"
    )
    build.add_argument(
        "--results", type=Path, help="a file that `codequarry benchmark --out` wrote, for the card"
    )
    build.add_argument("--replace", action="store_true", help="replace a release that is there")
    build.set_defaults(verb=_release_build)
    verify = _verb(
        steps,
        "verify",
        "check every file, field and vector of a release",
        "codequarry release verify releases/mini",
        "Exits with 1 and names what is wrong, if anything is.\n",
    )
    verify.add_argument("folder", type=Path, help="the release folder")
    verify.add_argument(
        "--python",
        dest="pythons",
        type=Path,
        action="append",
        default=[],
        metavar="PYTHON",
        help="also reload it with this Python, e.g. one with an older sentence-transformers",
    )
    verify.set_defaults(verb=_release_verify)
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
