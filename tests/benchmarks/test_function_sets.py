from pathlib import Path

import pytest

from codequarry.benchmarks.function_sets import FunctionSet, function_set
from codequarry.data.mining.split import held_out_files
from codequarry.data.mining.trees import open_tree

VERBS = ["parse", "format", "send", "draw", "count", "merge", "compress", "encrypt", "render", "schedule"]
THINGS = ["dates", "mails", "lines", "archives"]
SAME = "Answer the same question as two other functions."


def source(verb: str, thing: str) -> str:
    return (
        f'def {verb}_{thing}(values):\n    """{verb.capitalize()} all of the {thing} that were given."""\n'
        f"    found = []\n    for value in values:\n        found.append({verb}(value, '{thing}'))\n"
        f"    return found\n\n\ndef {verb}(value, kind):\n    return {verb}_one(value, kind)\n"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("functions")
    for verb in VERBS:
        for thing in THINGS:
            (folder / f"{verb}_{thing}.py").write_text(source(verb, thing))
    return folder


def made(folder: Path, **caps: int) -> FunctionSet:
    with open_tree(folder, history=False) as tree:
        return function_set(str(folder), tree, "functions", progress=False, **caps)


def test_only_docstrings_of_held_out_files_are_asked_and_all_functions_are_searched(folder: Path) -> None:
    found = made(folder)
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


def test_every_function_under_one_docstring_answers_it(folder: Path, tmp_path: Path) -> None:
    outside = sorted(held_out_files([f"{verb}_{thing}.py" for verb in VERBS for thing in THINGS], 0.2))
    for file in folder.iterdir():
        text = file.read_text()
        if file.name in (outside[0], "parse_dates.py", "draw_lines.py"):
            first, _, rest = text.partition('"""')
            text = f'{first}"""{SAME}"""{rest.partition(chr(34) * 3)[2]}'
        (tmp_path / file.name).write_text(text)
    found = made(tmp_path).found
    (query,) = [name for name, text in found.queries.items() if text == SAME]
    named = {document.partition(":")[0] for document in found.relevant[query]}
    assert named == {outside[0], "parse_dates.py", "draw_lines.py"}


def test_caps_choose_the_same_ones_every_time_and_keep_the_answers(folder: Path) -> None:
    whole, few = made(folder), made(folder, queries=3, documents=10)
    assert (len(few.found.queries), len(few.found.documents)) == (3, 10)
    assert set(few.found.queries.values()) < set(whole.found.queries.values())
    assert few == made(folder, queries=3, documents=10)
    assert (few.docstrings, few.functions) == (len(whole.found.queries), len(whole.found.documents))


def test_a_repository_without_docstrings_is_a_sentence(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"m{number}.py").write_text(f"def f{number}(x):\n    y = x\n    return y + {number}\n")
    with pytest.raises(ValueError, match="4 functions were read"):
        made(tmp_path)
