import json
import re
from pathlib import Path
from typing import Any

from codequarry.__main__ import _parser
from codequarry.benchmarks.quality import Row, table
from codequarry.benchmarks.releasing import releasing_table
from codequarry.benchmarks.report import read_benchmarks, score_table
from codequarry.benchmarks.serving import serving_table
from codequarry.benchmarks.training.one_step import step_table
from codequarry.benchmarks.training.pooling import pooling_table
from codequarry.benchmarks.training.scaling import scaling_table
from codequarry.benchmarks.training.speed_tables import speed_table
from codequarry.benchmarks.verified import verified_table
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


def test_every_table_of_training_is_its_results_rendered() -> None:
    tables = {"throughput": speed_table, "one-step": step_table, "scaling": scaling_table}
    for name, table_of in tables.items():
        results = ROOT / f"benchmarks/results/training-{name}.json"
        assert table_of(json.loads(results.read_text(encoding="utf-8"))) in README, name


def test_the_table_of_poolings_and_what_it_says_are_the_results_rendered() -> None:
    results = json.loads((ROOT / "benchmarks/results/training-pooling.json").read_text("utf-8"))
    assert pooling_table(results["poolings"]) in README
    assert " ".join(results["conclusion"]) in " ".join(README.split())


def test_the_kills_are_those_of_their_results() -> None:
    kills = json.loads((ROOT / "benchmarks/results/training-kills.json").read_text("utf-8"))
    assert all(kills[f"same_{what}"] for what in ("losses", "weights", "batches"))
    assert f"{len(kills['kills'])}\nkills at random moments, all equal" in README


def test_the_table_of_runtimes_is_what_verify_found() -> None:
    mini, nano, gguf = (read(f"verify-{name}") for name in ("mini", "nano", "nano-GGUF"))
    assert all(row["ok"] for record in (mini, nano, gguf) for row in record["rows"])
    nano["rows"] += gguf["rows"]
    assert verified_table({"mini": mini, "nano": nano}) in README
    assert len({row["runtime"] for row in mini["rows"] + nano["rows"]}) >= 5


def test_the_table_of_releases_is_its_results_rendered() -> None:
    record = read("releasing")
    assert releasing_table(record) in README
    assert {row["model"] for row in record["rows"]} == {"mini", "nano", "0.5b", "1.5b"}


def test_the_table_of_the_server_under_load_is_its_results_rendered() -> None:
    shown = (ROOT / "integrations/serve/README.md").read_text(encoding="utf-8")
    assert serving_table(read("serve")) in shown


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
