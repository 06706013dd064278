"""`codequarry search`: its options, and what it prints."""

import argparse
from pathlib import Path

from codequarry.cli.source_options import add_source_options, print_left_out
from codequarry.modules.tasks import DEFAULT_TASK, TASKS, get_task

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
    add("--model", default="mini", help="mini, a model folder or a Hub name (default: mini)")
    add("--dims", type=int, help="one of the model's Matryoshka dimensions")
    add("--json", action="store_true", help="print JSON, one object with all answers")
    add_source_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Search as the parsed options say, and print the answers."""
    get_task(arguments.task)  # before seconds are spent on loading a model
    from codequarry.inference.load import load
    from codequarry.search.query import NothingToSearch, as_json, render, search

    model = load(arguments.model, dims=arguments.dims)
    try:
        answers = search(
            arguments.query,
            arguments.path,
            model,
            task=arguments.task,
            top=arguments.top,
            include=arguments.include,
            exclude=arguments.exclude,
        )
    except NothingToSearch as nothing:
        print_left_out(nothing.left_out, arguments)
        raise
    print_left_out(answers.refresh.left_out, arguments)
    print(as_json(answers) if arguments.json else render(answers.hits))
