import argparse
import json
import subprocess
from pathlib import Path

import pytest

from codequarry.benchmarks.repository import FEW, FunctionSet, _too_few, function_set, own_sets
from codequarry.cli.benchmark import add_arguments, run_repository
from codequarry.data.mining.checkout import open_tree
from codequarry.data.mining.split import held_out_files

VERBS = ["parse", "format", "send", "draw", "count", "merge", "compress", "encrypt", "render", "schedule"]

THINGS = ["dates", "mails", "lines", "archives"]


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, check=True)


def source(verb: str, thing: str, extra: str = "") -> str:
    return (
        f'def {verb}_{thing}(values):\n    """{verb.capitalize()} all of the {thing} that were given."""\n'
        f"    found = []\n    for value in values:\n        found.append({verb}(value, '{thing}'))\n"
        f"    return found{extra}\n"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty modules in no repository."""
    folder = tmp_path_factory.mktemp("own") / "tools"
    folder.mkdir()
    for verb in VERBS:
        for thing in THINGS:
            (folder / f"{verb}_{thing}.py").write_text(source(verb, thing))
    return folder


@pytest.fixture(scope="module")
def checkout(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a history of ten commits."""
    checkout = tmp_path_factory.mktemp("checkout") / "tools"
    checkout.mkdir()
    git(checkout, "init", "--quiet", "--initial-branch=main")
    for file in folder.iterdir():
        (checkout / file.name).write_text(file.read_text())
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message", "Begin")
    for verb in VERBS:
        (checkout / f"{verb}_lines.py").write_text(source(verb, "lines", " or [None]"))
        git(checkout, "commit", "--quiet", "--all", "--message", f"Never {verb} an empty list of lines")
    return checkout


def options(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(given)


def test_a_checkout_is_asked_for_functions_and_for_changed_files(checkout: Path) -> None:
    found = own_sets(str(checkout), progress=False)
    assert (found.name, found.commit) == ("tools", None)
    assert found.functions is not None
    assert found.commits is not None
    assert list(found.commits.found.queries.values()) == [
        "Never schedule an empty list of lines",
        "Never render an empty list of lines",
    ]
    text = " ".join(found.notes)
    assert f"{len(found.functions.found.queries)} docstrings of held-out files" in text
    assert "searched in all 40 functions" in text
    assert "commits: 2 queries are too few" in text


def test_few_queries_are_counted_in_the_right_number() -> None:
    assert _too_few("commits", 1)[0].startswith("commits: 1 query is too few ")
    assert _too_few("commits", 2)[0].startswith("commits: 2 queries are too few ")
    assert _too_few("commits", FEW) == []


def test_a_bare_clone_is_asked_the_same(checkout: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(checkout), "tools.git")
    bare, plain = (
        own_sets(str(tmp_path / "tools.git"), progress=False),
        own_sets(str(checkout), progress=False),
    )
    assert (bare.functions, bare.commits) == (plain.functions, plain.commits)
    assert bare.commit is not None


def test_a_folder_without_history_is_asked_for_functions_only_and_says_so(folder: Path) -> None:
    found = own_sets(str(folder), progress=False)
    assert found.functions is not None
    assert found.commits is None
    assert any("not measured. tools is no git repository" in note for note in found.notes)


def test_a_history_without_docstrings_is_asked_for_files_only_and_says_so(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    for text in ("x", "y", "z"):
        (tmp_path / "a.py").write_text(f"def f(x):\n    y = x\n    return {text}\n")
        git(tmp_path, "add", "--all")
        git(tmp_path, "commit", "--quiet", "--message", f"Return {text} where callers expect coordinates")
    found = own_sets(str(tmp_path), progress=False)
    assert found.functions is None
    assert found.commits is not None
    assert any("has no docstring to ask with" in note for note in found.notes)


def test_nothing_to_ask_is_one_sentence_with_both_reasons(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match=r"cannot be asked anything.*no docstring.*no git repository"):
        own_sets(str(tmp_path), progress=False)
    with pytest.raises(ValueError, match="not there"):
        own_sets(str(tmp_path / "nowhere"), progress=False)
    with pytest.raises(ValueError, match="queries is 0: pass 1 or more"):
        own_sets(str(tmp_path), queries=0)


def test_the_models_stand_beside_bm25_and_their_fusion_in_print_and_in_the_file(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = options("--queries", "5")
    arguments.models, arguments.repo = ["all-MiniLM-L6-v2"], str(checkout)
    arguments.out, arguments.cache, arguments.compute = tmp_path / "out", tmp_path / "cache", "fp32"
    run_repository(arguments)
    printed = capsys.readouterr().out
    record = json.loads((tmp_path / "out/repository__tools.json").read_text())
    models = ["BM25", "BM25, plain words", "all-MiniLM-L6-v2", "all-MiniLM-L6-v2 + BM25"]
    assert [(row["set"], row["model"]) for row in record["rows"]] == [
        (name, model) for name in ("functions", "commits") for model in models
    ]
    for row in record["rows"]:
        assert f"{100 * row['ndcg@10']:.1f}" in printed
        assert row["low"] <= row["ndcg@10"] <= row["high"]
    assert record["notes"][0] in printed
    assert str(tmp_path) not in (tmp_path / "out/repository__tools.json").read_text()


def test_no_model_is_a_sentence(checkout: Path) -> None:
    arguments = options()
    arguments.models, arguments.repo = [], str(checkout)
    with pytest.raises(ValueError, match="no model was named"):
        run_repository(arguments)


SAME = "Answer the same question as two other functions."


def source_of(verb: str, thing: str) -> str:
    return (
        f'def {verb}_{thing}(values):\n    """{verb.capitalize()} all of the {thing} that were given."""\n'
        f"    found = []\n    for value in values:\n        found.append({verb}(value, '{thing}'))\n"
        f"    return found\n\n\ndef {verb}(value, kind):\n    return {verb}_one(value, kind)\n"
    )


@pytest.fixture(scope="module")
def sources_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources_folder = tmp_path_factory.mktemp("functions")
    for verb in VERBS:
        for thing in THINGS:
            (sources_folder / f"{verb}_{thing}.py").write_text(source_of(verb, thing))
    return sources_folder


def made(sources_folder: Path, **caps: int) -> FunctionSet:
    with open_tree(sources_folder, history=False) as tree:
        return function_set(str(sources_folder), tree, "functions", progress=False, **caps)


def test_only_docstrings_of_held_out_files_are_asked_and_all_functions_are_searched(
    sources_folder: Path,
) -> None:
    found = made(sources_folder)
    outside = held_out_files([f"{verb}_{thing}.py" for verb in VERBS for thing in THINGS], 0.2)
    answers = {document for right in found.found.relevant.values() for document in right}
    assert {document.partition(":")[0] for document in answers} == outside
    # The short helper stands in four files with the same text: one document a verb.
    assert len(found.found.documents) == found.functions == len(VERBS) * (len(THINGS) + 1)
    for query, right in found.found.relevant.items():
        (document,) = right
        text = found.found.documents[document]
        assert found.found.queries[query] not in text  # the docstring is not there to be read
        verb, thing = document.partition(".")[0].split("_")
        assert found.found.queries[query] == f"{verb.capitalize()} all of the {thing} that were given."


def test_every_function_under_one_docstring_answers_it(sources_folder: Path, tmp_path: Path) -> None:
    outside = sorted(held_out_files([f"{verb}_{thing}.py" for verb in VERBS for thing in THINGS], 0.2))
    for file in sources_folder.iterdir():
        text = file.read_text()
        if file.name in (outside[0], "parse_dates.py", "draw_lines.py"):
            first, _, rest = text.partition('"""')
            text = f'{first}"""{SAME}"""{rest.partition(chr(34) * 3)[2]}'
        (tmp_path / file.name).write_text(text)
    found = made(tmp_path).found
    (query,) = [name for name, text in found.queries.items() if text == SAME]
    named = {document.partition(":")[0] for document in found.relevant[query]}
    assert named == {outside[0], "parse_dates.py", "draw_lines.py"}


def test_caps_choose_the_same_ones_every_time_and_keep_the_answers(sources_folder: Path) -> None:
    whole, few = made(sources_folder), made(sources_folder, queries=3, documents=10)
    assert (len(few.found.queries), len(few.found.documents)) == (3, 10)
    assert set(few.found.queries.values()) < set(whole.found.queries.values())
    assert few == made(sources_folder, queries=3, documents=10)
    assert (few.docstrings, few.functions) == (len(whole.found.queries), len(whole.found.documents))


def test_a_repository_without_docstrings_is_a_sentence(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"m{number}.py").write_text(f"def f{number}(x):\n    y = x\n    return y + {number}\n")
    with pytest.raises(ValueError, match="4 functions were read"):
        made(tmp_path)
