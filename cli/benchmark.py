"""`codequarry benchmark`: score models and BM25."""

import argparse
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from codequarry.cli.model_options import add_runtime_option
from codequarry.cli.source_options import add_source_options, print_left_out
from codequarry.common.environment import written_command
from codequarry.common.errors import UserError
from codequarry.common.files import cache_folder
from codequarry.modules.tasks import TASKS

if TYPE_CHECKING:
    from codequarry.benchmarks.models import BenchmarkModel, Prompts
    from codequarry.benchmarks.quantization import Precision
    from codequarry.data.eval_set import EvalSet
    from codequarry.inference.load import RuntimeName


_Name = TypeVar("_Name", bound=str)

_CHECKOUT = Path("benchmarks/results")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer the options of `codequarry benchmark` to a parser."""
    parser.add_argument(
        "models",
        nargs="*",
        metavar="model",
        help="mini, a model folder, a Hub name, or all-MiniLM-L6-v2; BM25 and fusions are scored beside them",
    )
    what = parser.add_argument_group("what to score on, one of these")
    only = what.add_mutually_exclusive_group()
    only.add_argument(
        "--data", type=Path, metavar="DIR", help="evaluation sets that `codequarry data build eval` made"
    )
    only.add_argument("--pairs", type=Path, help="a file or folder of pairs not trained on")
    only.add_argument(
        "--suite", choices=["mteb-code"], help="the twelve tasks of MTEB(Code, v1), from the Hub"
    )
    only.add_argument(
        "--repo",
        metavar="PATH_OR_URL",
        help="your own repository: its docstrings and commit messages are asked, its functions and files "
        "are searched",
    )
    only.add_argument(
        "--agentic",
        action="store_true",
        help="commit messages of four pinned repositories, and the files that were changed",
    )
    only.add_argument("--report", action="store_true", help="render results that are there: table and plots")
    parser.add_argument(
        "--tasks",
        metavar="NAMES",
        help=f"only these sets, or sets of these tasks ({', '.join(TASKS)}), with commas between",
    )
    parser.add_argument(
        "--sample", type=int, metavar="N",
        help="of each set of --data only N fixed queries, their documents and 1,500 others: for models that "
        "this machine cannot run on whole sets",
    )  # fmt: skip
    parser.add_argument(
        "--dims", type=_numbers, default=(), help="also cut vectors to so many numbers, e.g. 256,128,64"
    )
    parser.add_argument(
        "--precision",
        type=_precisions,
        default=(),
        help="also store documents as int8,binary",
    )
    parser.add_argument(
        "--prompts-cost",
        type=_wrong_prompts,
        nargs="?",
        const="none,sides,task",
        default=(),
        metavar="WHICH",
        help="also score with no prompt, query's and document's exchanged, and another task's, which embeds "
        "every text anew; only some of these: e.g. none,sides (default: none,sides,task)",
    )
    parser.add_argument(
        "--compare", nargs=2, metavar=("A", "B"), help="test whether A beats B: models, or rows such as BM25"
    )
    parser.add_argument(
        "--cascade", action="store_true",
        help="score what search does too: pico + BM25, weighted, and each model on their best 64; and what "
        "a document and a query cost",
    )  # fmt: skip
    parser.add_argument(
        "--compute",
        choices=["auto", "fp32"],
        default="auto",
        help="auto: bf16 where the processor is faster at it (default: auto)",
    )
    add_runtime_option(parser)
    parser.add_argument(
        "--queries", type=int, default=100, metavar="N",
        help="of each set of a repository at most; more give narrower intervals (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--documents", type=int, default=8_000, metavar="N",
        help="functions or passages of files that are searched at most (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--mirrors", type=Path, metavar="DIR",
        help="a folder of clones named owner+name or name, tried before the network",
    )  # fmt: skip
    add_source_options(parser.add_argument_group("which files are read, with --repo"))
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where results are written: <model>.json and MTEB's tree (default: benchmarks/results in a "
        "checkout, ./results elsewhere)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="where vectors are kept, so that no text is embedded twice (default: the user's cache folder)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Score, print and write, as the options say; UserError for what they get wrong."""
    if arguments.report:
        from codequarry.benchmarks.report import write_report

        for path in write_report(_out_folder(arguments)):
            print(f"wrote {path}")
        return
    missing = [name for name in ("mteb", "bm25s") if find_spec(name) is None]
    if missing:
        raise UserError(f"Benchmarks need {' and '.join(missing)}: pip install 'codequarry[benchmark]'.")
    if arguments.repo is not None:
        run_repository(arguments)
    elif arguments.agentic:
        run_agentic(arguments)
    else:
        _score(arguments)


def _score(arguments: argparse.Namespace) -> None:
    from codequarry.benchmarks.cost import cost_table
    from codequarry.benchmarks.evaluate import measure
    from codequarry.benchmarks.results import (
        MEAN,
        comparisons_of,
        language_table,
        score_table,
        summary_name,
        write_summary,
    )
    from codequarry.benchmarks.significance import comparison_table

    out = _out_folder(arguments)
    sets, benchmark = _sets(arguments)
    models = _models(arguments)
    measured = measure(
        sets,
        models,
        dims=arguments.dims,
        precisions=arguments.precision,
        wrong_prompts=arguments.prompts_cost,
        out=out if arguments.sample is None else None,  # MTEB's tree has a place for whole sets only
        **_kept(arguments),
    )
    comparisons = comparisons_of(measured.rows, *arguments.compare) if arguments.compare else []
    labels = {model.label for model in models}
    print(score_table(measured.rows))
    for section, title in (
        ("dims", "Fewer dimensions, unit length again"),
        ("precisions", "Documents stored in fewer bits"),
        ("prompts", "Wrong prompts, or none"),
    ):
        if section in measured.variants:
            own = [row for row in measured.rows if row.name in labels]
            print(f"\n{title}\n{score_table([*own, *measured.variants[section]])}")
    if measured.costs:
        means = {row.name: row.ndcg_at_10 for row in measured.rows if row.set == MEAN}
        print(f"\nQuality and cost\n{cost_table(measured.costs, means)}")
    if measured.languages:
        print(f"\nBy language\n{language_table(measured.languages)}")
    if comparisons:
        print(f"\n{comparison_table(comparisons)}")
    print()
    for line in measured.speeds.values():
        print(
            f"{line['model']}: {line['texts']:,} texts embedded at {line['texts_per_second']} texts/s, "
            f"{line['tokens_per_second']:,} tokens/s, {line['compute']} on {line['processor']}"
        )
    command = written_command()
    for model in models:
        path = out / summary_name(model.label, arguments.sample)
        write_summary(path, model, measured, benchmark=benchmark, command=command, comparisons=comparisons)
        print(f"wrote {path}")


def run_repository(arguments: argparse.Namespace) -> None:
    """`codequarry benchmark MODEL… --repo WHERE`: score, print and write."""
    from codequarry.benchmarks.evaluate import score
    from codequarry.benchmarks.repository import own_sets
    from codequarry.benchmarks.results import score_table, write_results
    from codequarry.data.parsing.source_report import Choice

    started = time.perf_counter()
    models = _loaded(arguments.models, "--repo PATH", arguments.runtime)
    found = own_sets(
        str(arguments.repo),
        queries=arguments.queries,
        documents=arguments.documents,
        mirrors=arguments.mirrors,
        choice=Choice(tuple(arguments.include), tuple(arguments.exclude)),
    )
    rows, settings = [], _kept(arguments)
    if found.functions is not None:
        print_left_out(found.functions.left_out, arguments)
        rows += score([found.functions.found], models, **settings)
    if found.commits is not None:
        rows += score([found.commits.found], models, passages=found.commits.passages, **settings)
    at = f" at {found.commit[:12]}" if found.commit else ""
    print(f"{found.name}{at}\n\n{score_table(rows)}\n")
    print("\n".join(found.notes))
    path = _out_folder(arguments) / f"repository__{found.name.replace('/', '__')}.json"
    about = {"repository": found.name, "commit": found.commit, "notes": list(found.notes)}
    write_results(path, rows, benchmark=f"the repository {found.name}", command=written_command(), more=about)
    print(f"\n{time.perf_counter() - started:.0f} s, wrote {path}")


def run_agentic(arguments: argparse.Namespace) -> None:
    """`codequarry benchmark MODEL… --agentic`: score, print and write one file per model and MTEB's tree."""
    from codequarry.benchmarks.commit_retrieval import AGENTIC, agentic_sets
    from codequarry.benchmarks.evaluate import score
    from codequarry.benchmarks.results import (
        BM25,
        FUSED,
        PLAIN,
        Row,
        score_table,
        summary_name,
        with_means,
        write_results,
    )

    started = time.perf_counter()
    models, out = _loaded(arguments.models, "--agentic", arguments.runtime), _out_folder(arguments)
    rows: list[Row] = []
    notes: list[str] = []
    for one in agentic_sets(
        queries=arguments.queries, passages=arguments.documents, mirrors=arguments.mirrors
    ):
        rows += score([one.found], models, passages=one.passages, out=out, **_kept(arguments))
        notes.append(
            f"{one.found.name}: {len(one.found.queries)} commits, {one.oldest} to "
            f"{one.newest}; {one.naming:.0%} of the messages name a file they changed."
        )
    rows = with_means(rows)
    print(f"Commit message → files it changed\n\n{score_table(rows)}\n")
    print("\n".join(notes))
    for model in models:
        path = out / f"agentic__{summary_name(model.label)}"
        own = [row for row in rows if row.model in (BM25, PLAIN, model.label, f"{model.label}{FUSED}")]
        write_results(
            path,
            own,
            benchmark="commit message to the files it changed, four pinned repositories",
            command=written_command(),
            more={"commits": {one.repository: one.commit for one in AGENTIC}, "notes": notes},
        )
        print(f"wrote {path}")
    print(f"{time.perf_counter() - started:.0f} s")


def _loaded(models: Sequence[str], what: str, runtime: "RuntimeName") -> "list[BenchmarkModel]":
    from codequarry.benchmarks.evaluate import benchmark_models

    if not models:
        raise UserError(f"no model was named: codequarry benchmark MODEL… {what}, e.g. all-MiniLM-L6-v2.")
    return benchmark_models(models, runtime=runtime)


def _out_folder(arguments: argparse.Namespace) -> Path:
    """Where results go: `--out`, else benchmarks/results in a checkout of this project, else ./results."""
    if arguments.out is None:
        return _CHECKOUT if _CHECKOUT.is_dir() else Path("results")
    out: Path = arguments.out
    if out.suffix == ".json" or out.is_file():
        raise UserError(f"--out {out} is a folder's place: {out.with_suffix('')} would get <model>.json.")
    return out


def _kept(arguments: argparse.Namespace) -> dict[str, Any]:
    """How and where vectors are computed and kept, as `measure` takes it."""
    cache = cache_folder("vectors") if arguments.cache is None else arguments.cache
    return {"cache": cache, "compute": arguments.compute, "cascade": arguments.cascade}


def _sets(arguments: argparse.Namespace) -> "tuple[Sequence[EvalSet | str], str]":
    from codequarry.benchmarks.mteb_tasks import local_sets, sets_of_pairs, suite
    from codequarry.data.eval_set import OTHERS, sample_of

    if arguments.sample is not None and arguments.data is None:
        raise UserError("--sample takes queries of the sets at --data DIR: pass both.")
    only = [name.strip() for name in (arguments.tasks or "").split(",") if name.strip()]
    if arguments.pairs is not None:
        return sets_of_pairs(arguments.pairs, only), f"held-out pairs of {arguments.pairs.name}"
    if arguments.suite == "mteb-code":
        return suite(only), "MTEB(Code, v1)" if not only else "tasks of mteb"
    if arguments.data is None:
        raise UserError(
            "nothing to score on: pass --data DIR with the sets of `codequarry data build eval --out DIR`, "
            "--pairs PATH with pairs that `codequarry mine` held out, --repo PATH, --agentic, or --suite "
            "mteb-code."
        )
    found, benchmark = local_sets(arguments.data, only), f"evaluation sets of {arguments.data.name}"
    if arguments.sample is None:
        return found, benchmark
    samples = [sample_of(one, arguments.sample) for one in found]
    return (
        samples,
        f"{benchmark}, at most {arguments.sample:,} queries of each and {OTHERS:,} other documents",
    )


def _models(arguments: argparse.Namespace) -> "list[BenchmarkModel]":
    """The models that are named, those to compare among them."""
    from codequarry.benchmarks.results import BM25, FUSED, PLAIN

    rows = [name.removesuffix(FUSED) for name in arguments.compare or ()]
    names = [*arguments.models, *(name for name in rows if name not in (BM25, PLAIN))]
    return _loaded(names, "--data DIR", arguments.runtime)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected whole numbers with commas between") from None


def _wrong_prompts(text: str) -> "tuple[Prompts, ...]":
    from codequarry.benchmarks.models import WRONG_PROMPTS

    return _chosen(text, tuple(WRONG_PROMPTS))


def _precisions(text: str) -> "tuple[Precision, ...]":
    from codequarry.benchmarks.quantization import PRECISIONS

    return _chosen(text, PRECISIONS)


def _chosen(text: str, names: tuple[_Name, ...]) -> tuple[_Name, ...]:
    chosen = text.split(",")
    found = tuple(name for name in names if name in chosen)
    if len(found) != len(set(chosen)):
        raise argparse.ArgumentTypeError(f"{text!r}: choose among {', '.join(names)}")
    return found
