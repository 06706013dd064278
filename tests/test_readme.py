import json
import re
from pathlib import Path
from typing import Any

from codequarry.__main__ import _parser
from codequarry.benchmarks.report import read_benchmarks, score_table, verified_table
from codequarry.benchmarks.results import Row, table
from codequarry.benchmarks.serving_load import serving_table
from codequarry.benchmarks.training_tables import speed_table
from codequarry.modules.tasks import SIDES, TASKS, prompt_name

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = json.loads((ROOT / "benchmarks/results/demo.json").read_text(encoding="utf-8"))


def test_the_table_of_scores_is_the_results_file_rendered() -> None:
    records = RESULTS["rows"]
    rows = [Row(**{name.replace("@", "_at_"): value for name, value in row.items()}) for row in records]
    assert table(rows) in README
    assert RESULTS["hardware"]["processor"] in README


def test_every_table_of_benchmarks_is_its_results_file_rendered() -> None:
    shown = [one for one in read_benchmarks(ROOT / "benchmarks/results") if "held-out" not in one.title]
    assert len(shown) >= 3
    for benchmark in shown:
        assert score_table(benchmark) in README, benchmark.title


def test_the_table_of_training_speed_is_its_results_rendered() -> None:
    assert speed_table(read("training-throughput")) in README


# The programs behind the next tables are gone (benchmarks/LOG.md names their commits): a line per row is
# written here from the results file.


def test_the_lines_of_one_training_step_are_those_of_its_results() -> None:
    rows = read("training-one-step")["rows"]
    for row in rows:
        memory = (row[f"memory_{when}"] / 1e9 for when in ("before", "step", "end"))
        assert line(
            f"`{row['recipe']}`",
            row["trained"],
            str(row["batch_size"]),
            f"{row['tokens']:,}",
            f"{row['step_seconds']:.0f}",
            *(f"{used:.1f} GB" for used in memory),
        )
    assert table_length("| model | trained | pairs | tokens |") == len(rows)


def test_the_lines_of_one_and_two_ranks_are_those_of_their_results() -> None:
    runs = read("training-scaling")["runs"]
    for run in runs:
        times = run["pairs_per_second"] / runs[0]["pairs_per_second"]
        assert line(str(run["ranks"]), f"{run['pairs_per_second']:.1f}", f"{times:.2f}")
    assert table_length("| ranks |") == len(runs)


def test_the_lines_of_poolings_and_what_is_said_of_them_are_those_of_their_results() -> None:
    results = read("training-pooling")
    for pooling, found in results["poolings"].items():
        scores = (found[name] for name in ("ndcg@10", "mrr@10", "recall@1"))
        cells = (f"{100 * score['mean']:.1f} ±{100 * score['deviation']:.1f}" for score in scores)
        assert line(f"`{pooling}`", *cells, f"{found['seconds']:.0f}")
    assert table_length("| pooling |") == len(results["poolings"])
    assert " ".join(results["conclusion"]) in " ".join(README.split())


def test_the_kills_are_those_of_their_results() -> None:
    kills = read("training-kills")
    assert all(kills[f"same_{what}"] for what in ("losses", "weights", "batches"))
    assert f"{len(kills['kills'])}\nkills at random moments, all equal" in README


def test_the_table_of_runtimes_is_what_verify_found() -> None:
    mini, nano, gguf = (read(f"verify-{name}") for name in ("mini", "nano", "nano-GGUF"))
    assert all(row["ok"] for record in (mini, nano, gguf) for row in record["rows"])
    nano["rows"] += gguf["rows"]
    assert verified_table({"mini": mini, "nano": nano}) in README
    assert len({row["runtime"] for row in mini["rows"] + nano["rows"]}) >= 5


def test_the_lines_of_releases_are_those_of_their_results() -> None:
    rows = read("releasing")["rows"]
    for row in rows:
        worst: dict[str, float] = {}
        for one in (one for load in row["loads"] for one in load["precisions"]):
            found = one["worst_absolute_difference"]
            worst[one["precision"]] = max(found, worst.get(one["precision"], 0.0))
        assert line(
            f"`{row['model']}`",
            f"{row['parameters'] / 1e6:,.1f}M{'' if row['trained'] else ', random'}",
            f"{row['bytes'] / 1e6:,.0f} MB in {row['weight_files']}",
            *(cost(row["steps"][step]) for step in ("build", "verify", "card", "publish")),
            ", ".join(f"{precision} {found:.1e}" for precision, found in worst.items()),
        )
    assert {row["model"] for row in rows} == {"mini", "nano", "0.5b", "1.5b"}
    assert table_length("| model | parameters | on disk |") == len(rows)


def test_the_table_of_the_server_under_load_is_its_results_rendered() -> None:
    shown = (ROOT / "integrations/serve/README.md").read_text(encoding="utf-8")
    assert serving_table(read("serve")) in shown


def line(*cells: str) -> bool:
    """Whether a table of the README has a line of these cells."""
    return f"| {' | '.join(cells)} |" in README.splitlines()


def table_length(head: str) -> int:
    """The lines below the head of the one table in the README whose head begins so."""
    lines = README.splitlines()
    (start,) = (number for number, found in enumerate(lines) if found.startswith(head))
    return next(n for n, found in enumerate([*lines[start + 2 :], ""]) if not found.startswith("|"))


def cost(step: dict[str, Any]) -> str:
    """Seconds and peak memory of a step of a release."""
    memory = step["peak_bytes"]
    shown = f"{memory / 1e9:.1f} GB" if memory >= 1e9 else f"{memory / 1e6:.0f} MB"
    return f"{step['seconds']:,.0f} s, {shown}"


def read(name: str) -> dict[str, Any]:
    """A results file."""
    record: dict[str, Any] = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text("utf-8"))
    return record


def test_every_task_is_in_the_table_with_both_prompt_names() -> None:
    for task in TASKS.values():
        names = ", ".join(f"`{prompt_name(task.name, side)}`" for side in SIDES)
        assert f"| `{task.name}` | {task.searches_with} | {task.searches_for} | {names} |" in README


def test_every_command_in_the_readme_parses() -> None:
    commands = re.findall(
        r"^codequarry ((?:search|mine|data|train|benchmark|release|card|serve) .+?)(?: +#.*)?$", README, re.M
    )
    assert len(commands) >= 12
    for command in commands:
        words = re.findall(r'"[^"]*"|\S+', command)
        _parser().parse_args([word.strip('"') for word in words])


def test_every_linked_file_exists() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
