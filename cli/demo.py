"""The whole workflow on real code: search, mine, train a model further, score, release, search again.

On sentence-transformers' own source, or on yours:

    make demo                                                    # trains pico
    make demo CODE=path/to/code QUERY="where are dates parsed"
    make demo-mini                                               # trains mini, which takes minutes longer
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

# The rest is imported in `demo`: it takes seconds, in which Ctrl-C is answered as well.
from codequarry.common.errors import UserError, exit_on_user_error, full_disk_as_user_error
from codequarry.modules.tasks import TASKS

if TYPE_CHECKING:
    from codequarry.data.pair import Pair


@dataclass(frozen=True)
class Base:
    """A model that the demo trains further.

    recipe: by which. settings: what differs from that here. command: that runs the demo with it.
    """

    name: str
    recipe: str
    command: str
    settings: tuple[str, ...]


BASES = {
    base.name: base
    for base in (
        Base("pico", "own-pico", "make demo", ()),
        # Of 200 steps: four to five minutes on two cores.
        Base("mini", "own", "make demo-mini", ("max_steps=20", "save_steps=10", "logging_steps=5")),
    )
}
_FIRST_QUERY = "truncate embeddings to fewer dimensions"
_QUERIES = {
    "nl2code": "save the model and its configuration to a folder",
    "qa": "How do I load a model that was saved before?",
    "code2code": "function cosine(a, b) {\n  return dot(a, b) / (norm(a) * norm(b));\n}",
    "code2nl": "def f(a, b):\n    a = a / a.norm(dim=-1)\n    b = b / b.norm(dim=-1)\n    return a @ b.T",
    "code2completion": "def load_config(path):\n    with open(path, encoding='utf-8') as file:\n",
}


def demo(
    code: Path, work: Path, first_query: str, queries: Mapping[str, str] | None, base: Base = BASES["pico"]
) -> None:
    """Run every step on the folder `code`, leaving pairs, run and release in `work`.

    Arguments: `first_query` is asked before anything is trained; `queries` are asked in the end, one per
    task; None for some of the folder's own held-out pairs; `base` is trained further.
    """
    from transformers.utils.logging import disable_progress_bar

    from codequarry.benchmarks.evaluate import score
    from codequarry.benchmarks.models import benchmark_model
    from codequarry.benchmarks.results import BM25, table, write_results
    from codequarry.data.eval_set import pair_sets
    from codequarry.data.mining.mine import mine
    from codequarry.data.mining.output import summary_table, write_mined
    from codequarry.data.pair_files import read_pairs
    from codequarry.inference.load import load
    from codequarry.recipes.read import recipe_path
    from codequarry.release.build import build
    from codequarry.release.verify import verify
    from codequarry.search.query import search
    from codequarry.search.render import render
    from codequarry.train import train

    disable_progress_bar()
    started = time.perf_counter()

    def say(title: str) -> None:
        print(f"\n== {title}  [{time.perf_counter() - started:.0f} s]", flush=True)

    say(f"A first answer: {first_query!r} in {code.name}")
    print(render(search(first_query, code, "mini", top=5).hits))

    say(f"Training pairs from {code.name}, one file in five held out")
    mined = mine([code], workers=1)  # a second process would load torch first, and take longer
    write_mined(work / "pairs", mined)
    print(summary_table(mined))

    say(f"Fine-tuning {base.name} on them: recipe {base.recipe}")
    settings = [f"data={work / 'pairs/train'}", *base.settings]
    train(recipe_path(base.recipe), work / "run", settings=settings, fresh=True)

    say("Scores on the held-out files")
    sets = pair_sets(read_pairs(work / "pairs/heldout").pairs)
    rows = score(
        sets,
        [benchmark_model(base.name, load(base.name)), benchmark_model("fine-tuned", load(str(work / "run")))],
    )
    rows = [row for row in rows if row.name in {BM25, base.name, "fine-tuned", "fine-tuned + BM25"}]
    print(table(rows))
    results = work / "results.json"
    write_results(
        results,
        rows,
        benchmark=f"held-out files of {code.name}, {base.name} fine-tuned",
        command=base.command,
    )

    say("A release, verified, loaded by sentence-transformers alone")
    release = build(work / "run", work / "release", results=results, replace=(work / "release").exists())
    verification = verify(release)
    print(verification.table())
    if not verification.ok:
        sys.exit("the release did not verify")
    _load_with_stock(release)

    say("The same code, searched with the release: one query per task")
    for task, query in (queries or _own_queries(mined.heldout)).items():
        print(f"\n{task} ({TASKS[task].searches_with}): {query.splitlines()[0]}")
        try:
            print(render(search(query, code, str(release), task=task, top=3).hits))
        except UserError as error:  # a folder without comments, say, has nothing for code2nl
            print(f"  {error}")

    say("Done. Next, on your own code:")
    print(
        f'  .venv/bin/codequarry search "where is the config read" path/to/code --model {work}/release\n'
        "  .venv/bin/codequarry mine path/to/code --out pairs\n"
        "  .venv/bin/codequarry train own --out runs/own"
    )


def _own_queries(heldout: "Sequence[Pair]") -> dict[str, str]:
    """A query per task from held-out pairs: for each kind of text the one of median length."""
    median = {}
    for kind in ("nl2code", "code2nl", "code2completion"):
        texts = sorted(
            {pair.query for pair in heldout if pair.task == kind}, key=lambda text: (len(text), text)
        )
        if texts:
            median[kind] = texts[len(texts) // 2]
    kind_of = {task: {"qa": "nl2code", "code2code": "code2nl"}.get(task, task) for task in TASKS}
    return {task: median[kind] for task, kind in kind_of.items() if kind in median}


def _load_with_stock(release: Path) -> None:
    """Load the release in a new process that does not import codequarry."""
    program = (
        "from sentence_transformers import SentenceTransformer\n"
        f"model = SentenceTransformer({str(release)!r})\n"
        "print('SentenceTransformer(release).encode(…).shape =', "
        "model.encode(['parse a date'], prompt_name='nl2code_query').shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, encoding="utf-8", errors="replace"
    )
    if done.returncode == -signal.SIGINT:
        raise KeyboardInterrupt
    if done.returncode != 0:
        raise UserError(
            f"sentence-transformers alone could not load {release} (exit {done.returncode}: "
            f"{(done.stderr.strip().splitlines() or ['no message'])[-1]})."
        )


def _default_code() -> Path:
    spec = find_spec("sentence_transformers")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("sentence_transformers is not installed: pip install 'codequarry[torch]'")
    return Path(spec.submodule_search_locations[0])


def main(words: Sequence[str] | None = None) -> None:
    """Run the demo as its command line says; a full disk and Ctrl-C end it with a sentence."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--code", type=Path, help="a folder of code (default: sentence-transformers' source)")
    parser.add_argument("--query", help="the first question, in plain words")
    parser.add_argument("--base", choices=BASES, default="pico", help="what is trained (default: pico)")
    parser.add_argument("--work", type=Path, default=Path(".demo"), help="where everything is written")
    arguments = parser.parse_args(words)
    work: Path = arguments.work
    query = _FIRST_QUERY if arguments.code is None else "where errors are handled"
    again = "The same command begins anew."
    with exit_on_user_error():
        try:
            work.mkdir(parents=True, exist_ok=True)
            with full_disk_as_user_error(work, "the demo's next file", f"Free some space. {again}"):
                demo(
                    arguments.code or _default_code(),
                    work,
                    arguments.query or query,
                    _QUERIES if arguments.code is None else None,
                    BASES[arguments.base],
                )
        except FileExistsError as error:
            raise UserError(f"{work} is a file: pass --work with a folder.") from error
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"Stopped. What was finished is in {work}. {again}") from None


if __name__ == "__main__":
    main()
