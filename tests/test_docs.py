"""README.md and docs/: tables of figures are results files rendered; links, commands and programs exist."""

import ast
import importlib.util
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codequarry.__main__ import _parser
from codequarry.benchmarks import inference_speed
from codequarry.benchmarks.installation import installation_table
from codequarry.benchmarks.releasing import files_table, releasing_table
from codequarry.benchmarks.report import Benchmark, cost_table, read_benchmarks, score_table, verified_table
from codequarry.benchmarks.results import Row, table
from codequarry.benchmarks.search_speed import large_table
from codequarry.benchmarks.search_speed import speed_table as search_speed_table
from codequarry.benchmarks.serving_load import serving_table
from codequarry.benchmarks.training_speed import speed_table
from codequarry.common.tables import markdown_table
from codequarry.data.catalog.registry import EVAL_SOURCES
from codequarry.integrations.mteb import counts_in_mean
from codequarry.modules.tasks import SIDES, TASKS, prompt_name
from codequarry.recipes.read import read_recipe, recipe_path

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in FILES}
COLUMNS = ["BM25", "all-MiniLM-L6-v2", "pico", "mini", "0.5b"]  # of the README's table
SAMPLED = "evaluation sets of eval, at most 300 queries"
NO_FIGURES = (
    "| status |",
    "| route |",
    "| recipe |",
    "| limit |",
    "| option |",
)  # heads of tables whose digits are not measurements


def read(name: str) -> dict[str, Any]:
    """A results file."""
    record: dict[str, Any] = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text("utf-8"))
    return record


def benchmarks() -> list[Benchmark]:
    """The scores of packaged models, without those of the demo."""
    found = read_benchmarks(ROOT / "benchmarks/results")
    return [one for one in found if "held-out" not in one.title]


def benchmark(words: str) -> Benchmark:
    """The benchmark of this title, or else the one whose title begins so."""
    named = [one for one in benchmarks() if one.title == words]
    (found,) = named or [one for one in benchmarks() if one.title.startswith(words)]
    return found


def demo_rows(name: str = "demo") -> list[Row]:
    records = read(name)["rows"]
    return [Row(**{name.replace("@", "_at_"): value for name, value in row.items()}) for row in records]


def fine_tuning() -> str:
    """The means of the demo with mini, a line per model."""
    return markdown_table(
        ["model", "nDCG@10", "MRR@10", "recall@1"],
        [
            [row.name, *(f"{100 * score:.1f}" for score in (row.ndcg_at_10, row.mrr_at_10, row.recall_at_1))]
            for row in demo_rows("demo-mini")
            if row.task == "mean"
        ],
    )


def results() -> str:
    """The README's one table of results: some of the sampled evaluation sets, and their mean."""
    sampled = benchmark(SAMPLED)
    lines = [
        [name, *scores(sampled, name)]
        for name in ("codesearchnet_real", "humaneval", "mbpp", "docs_qa", "rosetta_py_cpp")
    ]
    count = sum(map(counts_in_mean, sampled.sets))
    lines.append([f"**mean of {count} sets**", *scores(sampled, "mean")])
    return markdown_table(["set", *COLUMNS], lines)


def scores(found: Benchmark, name: str) -> list[str]:
    rows = [found.rows[name, model] for model in COLUMNS]
    best = max(row["ndcg@10"] for row in rows)
    shown = (f"{100 * row['ndcg@10']:.1f}" for row in rows)
    bold = (f"**{text}**" if row["ndcg@10"] == best else text for text, row in zip(shown, rows, strict=True))
    return [f"{text} ±{50 * (row['high'] - row['low']):.1f}" for text, row in zip(bold, rows, strict=True)]


# The programs behind the next tables are gone (benchmarks/LOG.md names their commits): rendered here.


def one_step() -> str:
    lines = [
        [
            f"`{row['recipe']}`",
            row["trained"],
            str(row["batch_size"]),
            f"{row['tokens']:,}",
            f"{row['step_seconds']:.0f}",
            *(f"{row[f'memory_{when}'] / 1e9:.1f} GB" for when in ("before", "step", "end")),
        ]
        for row in read("training-one-step")["rows"]
    ]
    costs = ["seconds a step", "memory before it", "peak with it", "until the model is saved"]
    return markdown_table(["model", "trained", "pairs", "tokens", *costs], lines, words=("trained",))


def ranks() -> str:
    runs = read("training-scaling")["runs"]
    speeds = [run["pairs_per_second"] for run in runs]
    lines = [
        [str(run["ranks"]), f"{speed:.1f}", f"{speed / speeds[0]:.2f}"]
        for run, speed in zip(runs, speeds, strict=True)
    ]
    return markdown_table(["ranks", "pairs/s", "times one rank"], lines)


def poolings() -> str:
    lines = []
    for pooling, found in read("training-pooling")["poolings"].items():
        means = (found[name] for name in ("ndcg@10", "mrr@10", "recall@1"))
        cells = (f"{100 * score['mean']:.1f} ±{100 * score['deviation']:.1f}" for score in means)
        lines.append([f"`{pooling}`", *cells, f"{found['seconds']:.0f}"])
    return markdown_table(["pooling", "nDCG@10", "MRR@10", "recall@1", "seconds a run"], lines)


def runtimes() -> str:
    """What `verify` found, llama.cpp's rows in the columns of the models that it read."""
    mini, nano, large = (read(f"verify-{name}") for name in ("mini", "nano", "0.5b"))
    nano["rows"] += read("verify-nano-GGUF")["rows"]
    large["rows"] += read("verify-0.5b-GGUF")["rows"]
    assert all(row["ok"] for record in (mini, nano, large) for row in record["rows"])
    return verified_table({"mini": mini, "nano": nano, "0.5b": large})


def real_files() -> str:
    """The files of the release of the package's 0.5b."""
    (row,) = (one for one in read("releasing")["rows"] if one["model"] == "0.5b-lora")
    return files_table(row)


TABLES = {
    "README.md": [fine_tuning, results],
    "docs/training.md": [lambda: speed_table(read("training-throughput")), ranks, one_step, poolings],
    "docs/release.md": [runtimes, lambda: releasing_table(read("releasing")), real_files],
    "docs/search.md": [
        lambda: search_speed_table(read("search_speed")),
        lambda: large_table(read("search_speed")),
        lambda: installation_table(read("installation")),
    ],
    "docs/serving.md": [lambda: serving_table(read("serve"))],
}


def speed_results() -> list[dict[str, Any]]:
    """The speed of inference, a results file a processor."""
    return [read(f"speed/{path.stem}") for path in sorted((ROOT / "benchmarks/results/speed").glob("*.json"))]


def expected_tables(page: str) -> list[str]:
    if page == "docs/benchmarks.md":
        speeds = [inference_speed.speed_table(one) for one in speed_results()]
        costs = [cost_table(one) for one in benchmarks() if one.costs]
        return [score_table(one).split("\n\n")[0] for one in benchmarks()] + speeds + costs
    return [rendered() for rendered in TABLES.get(page, [])]


def shown_tables(text: str) -> Iterator[str]:
    """The Markdown tables of a page."""
    for found in re.finditer(r"(?:^\|.*\n)+", without_code(text), re.M):
        yield found[0].rstrip("\n")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_of_figures_of_a_page_are_its_results_files_rendered(page: str) -> None:
    with_figures = [
        shown
        for shown in shown_tables(PAGES[page])
        if re.search(r"^\|.*\| \**\d", shown, re.M) and not shown.startswith(NO_FIGURES)
    ]
    assert sorted(with_figures) == sorted(expected_tables(page))


def test_every_benchmark_and_its_note_on_saturated_sets_is_shown() -> None:
    assert len(benchmarks()) >= 5
    for one in benchmarks():
        assert score_table(one) in PAGES["docs/benchmarks.md"], one.title
    scored = set(benchmark("evaluation sets of eval").sets)
    assert set(EVAL_SOURCES) - scored == {"humaneval"}  # the page says that it was not scored
    assert len(EVAL_SOURCES) == 12
    assert "# twelve evaluation sets" in PAGES["docs/data.md"]
    assert len(read("verify-mini")["rows"] + read("verify-nano")["rows"]) >= 5
    assert {row["model"] for row in read("releasing")["rows"]} == {
        "mini", "nano", "0.5b", "0.5b-lora", "1.5b",
    }  # fmt: skip


def test_the_first_figures_of_0_5b_are_its_results() -> None:
    page, of_0_5b, of_mini = PAGES["docs/benchmarks.md"], read("0.5b__sample1000"), read("mini__sample1000")
    assert f"embeds {of_0_5b['speed']['texts_per_second']:.0f} texts per second" in page
    times = of_mini["speed"]["texts_per_second"] / of_0_5b["speed"]["texts_per_second"]
    assert "costs fifteen times what it costs with `mini`" in " ".join(PAGES["docs/models.md"].split())
    assert 14 <= times <= 16
    record = json.loads((ROOT / "models/0.5b-lora/training.json").read_text(encoding="utf-8"))
    assert f"for {record['steps']} steps of {record['recipe']['batch_size']} pairs, two hours" in " ".join(
        PAGES["docs/models.md"].split()
    )
    assert round(record["seconds"] / 3600) == 2


def test_the_demos_scores_are_its_results_file_rendered() -> None:
    assert table(demo_rows()) in PAGES["docs/training.md"]
    assert read("demo")["hardware"]["processor"] in PAGES["docs/training.md"]
    assert f"{demo_rows()[-1].queries} held-out pairs" in PAGES["README.md"]
    before, after = (
        f"{100 * row.ndcg_at_10:.1f}"
        for row in demo_rows("demo-mini")
        if row.task == "mean" and row.name in {"mini", "fine-tuned"}
    )
    assert f"`mini` rises from {before} to {after}" in PAGES["docs/training.md"]


def test_the_demos_titles_are_those_that_it_prints() -> None:
    shown = re.findall(r"^== (.+?)  \[\d+ s\]$", PAGES["docs/training.md"], re.M)
    tree = ast.parse((ROOT / "cli/demo.py").read_text(encoding="utf-8"))
    said = [
        "".join(
            re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in parts(node.args[0])
        )
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "say"
    ]
    assert len(shown) == len(said) > 5
    for title, pattern in zip(shown, said, strict=True):
        assert re.fullmatch(pattern, title)


def parts(text: ast.expr) -> list[ast.expr]:
    return text.values if isinstance(text, ast.JoinedStr) else [text]


def test_the_sentences_on_training_runs_have_the_figures_of_their_results() -> None:
    training = " ".join(PAGES["docs/training.md"].split())
    pooling, scaling = read("training-pooling"), read("training-scaling")
    assert " ".join(pooling["conclusion"]) in training
    pairs, seeds = pooling["pairs"], len(pooling["runs"]) // len(pooling["poolings"])
    assert f"{pooling['steps']} steps on {pairs['train']:,} pairs, {seeds} seeds" in training
    assert f"scored on {pairs['held_out']:,} held-out pairs" in training
    assert f"run of {scaling['steps']} steps" in training
    assert f"differ by {scaling['losses_apart']:.1%} at most" in training
    kills = read("training-kills")
    assert all(kills[f"same_{what}"] for what in ("losses", "weights", "batches"))
    assert f"{len(kills['kills'])} kills at random moments, all equal" in training


def test_the_pages_say_what_embedding_costs_as_it_was_measured() -> None:
    benchmarks_page, readme, serving = (
        " ".join(PAGES[page].split()) for page in ("docs/benchmarks.md", "README.md", "docs/serving.md")
    )
    assert speed_results()
    for results in speed_results():
        sentences = inference_speed.sentences(results)
        assert sentences["cold"] in benchmarks_page
        assert results["hardware"]["processor"] in benchmarks_page
        for model in results["models"]:
            assert f"{model['documents']} chunks ({model['tokens']:,} tokens)" in benchmarks_page
    scaling = read("speed/intel-r-xeon-r-processor")
    rates = {row["tokens"]: f"{row['tokens_per_second']:,}" for row in scaling["lengths"]["rows"]}
    short, long, longest = (rates[tokens] for tokens in (16, 1024, 8192))
    assert (
        f"{short} tokens per second at 16 tokens a text, {long} at 1,024, {longest} at 8,192"
        in benchmarks_page
    )
    few, many = scaling["memory"]["rows"]
    assert (
        f"{few['texts']:,} short texts with `mini` takes at most {few['peak_bytes'] / 1e6:.0f} MB"
        in benchmarks_page
    )
    assert f"one that embeds {many['texts']:,} {many['peak_bytes'] / 1e6:.0f} MB" in benchmarks_page
    first = inference_speed.sentences(read("speed/amd-epyc"))
    assert first["readme"] in readme
    assert first["billion"] in serving
    assert first["invariant"] in serving


def test_the_pages_say_what_retrieval_loses_in_8_bit_integers() -> None:
    rows = benchmark("evaluation sets of eval_and_humaneval").rows
    said = " ".join(PAGES["docs/benchmarks.md"].split())
    whole, small = (f"{100 * rows['mean', name]['ndcg@10']:.1f}" for name in ("mini", "mini-int8"))
    assert f"mean nDCG@10 of {small} on ten sets, in float32 {whole}" in said
    lost = {
        name: rows[name, "mini"]["ndcg@10"] - row["ndcg@10"]
        for (name, model), row in rows.items()
        if model == "mini-int8"
    }
    worst = max(lost, key=lambda name: lost[name])
    assert f"loses {100 * lost[worst]:.1f} on the worst, {worst}" in said


def test_the_readme_says_what_the_stages_of_a_search_gain() -> None:
    stages = benchmark("evaluation sets of eval_and_humaneval").rows
    cascade, whole = (f"{100 * stages['mean', name]['ndcg@10']:.1f}" for name in ("cascade mini", "mini"))
    said = " ".join(PAGES["README.md"].split())
    assert f"(nDCG@10 of ten sets: {cascade}; `mini` on everything: {whole})" in said


def test_the_readme_says_what_each_way_to_install_brings() -> None:
    alone, whole = read("installation")["rows"]
    said = " ".join(PAGES["README.md"].split())
    assert f"{alone['megabytes']} MB in {alone['packages']} packages, {alone['seconds']} s" in said
    assert f"{whole['megabytes'] / 1000:.1f} GB in {whole['packages']}, {whole['seconds']} s" in said


def test_what_the_readme_says_of_the_winners_is_in_the_results() -> None:
    sampled = benchmark(SAMPLED)
    sets = [name for name in sampled.sets if counts_in_mean(name)]
    best = Counter(max(COLUMNS, key=lambda model: sampled.rows[name, model]["ndcg@10"]) for name in sets)
    (winner, count), *others = best.most_common()
    said = f"Of the {len(sets)} sets, `{winner}` is best on {count}"
    said += "".join(f", {name} on {wins}" for name, wins in others)
    assert f"{said}." in " ".join(PAGES["README.md"].split())


def test_the_table_of_recipes_is_what_the_recipes_say() -> None:
    (shown,) = (one for one in shown_tables(PAGES["docs/training.md"]) if one.startswith("| recipe |"))
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in shown.splitlines()[2:]]
    assert [row[0] for row in rows] == [
        "`mini`", "`own`", "`pico`", "`own-pico`", "`own-0.5b`", "`nano`", "`0.5b-lora`", "`1.5b-lora`",
        "`0.5b`", "`1.5b`",
    ]  # fmt: skip
    assert len(rows) == len(list((ROOT / "recipes").glob("*.toml")))
    for name, *_, pooling, dims in rows:
        recipe = read_recipe(recipe_path(name.strip("`")))
        assert pooling.replace(" ", "") == recipe.pooling
        assert dims == f"{recipe.matryoshka_dims[0]} to {recipe.matryoshka_dims[-1]}"


def test_every_task_is_in_the_table_with_both_prompt_names() -> None:
    for task in TASKS.values():
        names = ", ".join(f"`{prompt_name(task.name, side)}`" for side in SIDES)
        cells = f"| `{task.name}` | {task.searches_with} | {task.searches_for} | {names} |"
        assert cells in PAGES["docs/models.md"].splitlines()


def commands(text: str) -> list[str]:
    """What a page calls `codequarry` with, without comments."""
    verbs = "search|embed|mine|data|train|benchmark|release|card|serve"
    return re.findall(rf"^(?:\$ )?codequarry ((?:{verbs}) .+?)(?: +#.*)?$", text, re.M)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_parses(page: str) -> None:
    for command in commands(PAGES[page]):
        words = re.findall(r'"[^"]*"|\S+', command)
        _parser().parse_args([word.strip('"') for word in words])


def test_the_pages_show_commands_of_every_verb() -> None:
    shown = [command for text in PAGES.values() for command in commands(text)]
    assert len(shown) >= 20
    verbs = {"search", "embed", "mine", "data", "train", "benchmark", "release", "card", "serve"}
    assert {command.split()[0] for command in shown} == verbs


def test_every_target_of_make_that_a_page_names_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    texts = [*PAGES.values(), (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")]
    targets = {target for text in texts for target in re.findall(r"^make ([\w-]+)", text, re.M)}
    assert {"demo", "test", "lint", "compat"} <= targets
    for target in targets:
        assert re.search(rf"^(?:[\w-]+ )*{target}(?: [\w-]+)*:", makefile, re.M), target


@pytest.mark.parametrize("page", PAGES)
def test_every_program_that_a_page_starts_by_its_module_is_there(page: str) -> None:
    for module in re.findall(r"python -m (codequarry\.[\w.]+)", PAGES[page]):
        assert importlib.util.find_spec(module) is not None, module


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "CHANGELOG.md", "integrations/README.md"])
def test_every_relative_link_leads_to_a_file_and_its_heading(page: str) -> None:
    text = without_code((ROOT / page).read_text(encoding="utf-8"))
    for target in re.findall(r"\]\((?!\w+:)([^)]+)\)", text):
        path, _, heading = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        assert not heading or heading in headings(file), target


def headings(file: Path) -> list[str]:
    """The anchors of a page, as GitHub makes them: small letters, hyphens for spaces, no punctuation."""
    found = re.findall(r"^#+ (.+)$", without_code(file.read_text(encoding="utf-8")), re.M)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found]


@pytest.mark.parametrize("page", [page for page in PAGES if page != "README.md"])
def test_a_page_says_first_what_it_is_for_and_is_linked_from_the_readme(page: str) -> None:
    assert re.match(r"# .+\n\nThis page says ", PAGES[page])
    assert f"]({page})" in PAGES["README.md"]


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size <= 9000
