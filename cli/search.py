"""`codequarry search`: its options, and what it prints."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from codequarry.cli.model_options import add_runtime_option
from codequarry.cli.source_options import add_source_options, print_left_out
from codequarry.common.errors import UserError
from codequarry.modules.tasks import DEFAULT_TASK, TASKS, get_task

if TYPE_CHECKING:
    from codequarry.inference.encoder import TaskModel

EXAMPLE = 'codequarry search "where are retries configured" path/to/code'
MORE = "tasks, what is searched with → what is found:\n" + "".join(
    f"  {task.name:<16} {task.searches_with} → {task.searches_for}\n" for task in TASKS.values()
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `codequarry search`."""
    add = parser.add_argument
    add("query", help="what to look for: plain words, or code for the code2… tasks")
    add("path", type=Path, nargs="?", default=Path(), help="the folder (default: this one)")
    add("--task", default=DEFAULT_TASK, help="one of the tasks below (default: %(default)s)")
    add("--top", type=int, default=10, help="how many answers (default: %(default)s)")
    add("--model", default="mini", help="pico, mini, a model folder or a Hub name (default: mini)")
    add("--dims", type=int, help="one of the model's Matryoshka dimensions")
    add_runtime_option(parser)
    add("--candidates", type=int, default=64, metavar="N",
        help="how many chunks, the best by pico and BM25, the model ranks (default: 64)")  # fmt: skip
    add("--exhaustive", action="store_true", help="embed every chunk with the model, and rank by it alone")
    add("--background", action="store_true",
        help="after the answer, embed the rest in a process of its own, for later searches")  # fmt: skip
    add("--timings", action="store_true", help="print the seconds of each stage to standard error")
    add("--json", action="store_true", help="print JSON, one object with all answers")
    add_source_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Search as the parsed options say, and print the answers."""
    get_task(arguments.task)  # before seconds are spent on loading a model
    # The matrix products of a search are small, or run in threads of their own. BLAS's threads wait for each
    # other in a loop: on a busy machine that took three times the processor time. Read as numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from codequarry.search.query import NothingToSearch, Searcher
    from codequarry.search.render import as_json, render, render_timings

    model: str | TaskModel = arguments.model
    if arguments.runtime != "packed":
        if arguments.background:
            raise UserError("--background embeds with the packed runtime: leave out --runtime, or it.")
        from codequarry.inference.open import open_model

        model = open_model(arguments.model, dims=arguments.dims, runtime=arguments.runtime, bars=False)
    searcher = Searcher(
        arguments.path,
        model,
        dims=arguments.dims,
        candidates=arguments.candidates,
        exhaustive=arguments.exhaustive,
        include=arguments.include,
        exclude=arguments.exclude,
    )
    try:
        answers = searcher.search(arguments.query, arguments.task, top=arguments.top)
    except NothingToSearch as nothing:
        print_left_out(nothing.left_out, arguments)
        raise
    print_left_out(answers.refresh.left_out, arguments)
    print(as_json(answers) if arguments.json else render(answers.hits))
    if arguments.timings:
        print(render_timings(answers), file=sys.stderr)
    if arguments.background:
        from codequarry.search.background import start

        start(arguments.path, arguments.model, arguments.task, arguments.dims)
