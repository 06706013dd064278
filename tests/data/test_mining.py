import pytest

from codequarry.data.mining import KINDS, mine
from codequarry.data.syntax import parse_source

LONG = "\n".join(f"    step_{number} = compute({number})" for number in range(14))


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "checkout"
    for number in range(8):
        place = root / f"part_{number}" / "code.py"
        place.parent.mkdir(parents=True)
        place.write_text(
            f'def work_{number}(a):\n    """Works on case number {number}.\n\n'
            f'    Args:\n        a: case."""\n'
            f"    start = {number}\n{LONG}\n    return a + {number}\n\n\n"
            f"class Case{number}:\n    # Counts what is in case {number}.\n"
            f"    def count(self):\n        size = len(self.x) + {number}\n        return size\n"
        )
    return root


def test_three_kinds_of_pairs_come_from_functions_and_methods(tree):
    mined = mine([tree], holdout=0, progress=False)
    pairs = {kind: [pair for pair in mined.train if pair.task == kind] for kind in KINDS}
    assert [len(found) for found in pairs.values()] == [16, 16, 8]
    assert {(pair.source, pair.language) for pair in mined.train} == {("checkout", "python")}
    definitions = {
        one.name: one
        for place in sorted(tree.rglob("*.py"))
        for one in parse_source(place.name, place.read_text())
    }
    asked = {pair.query: pair for pair in pairs["nl2code"]}
    assert asked["Works on case number 3."].document == definitions["work_3"].bare_code
    assert asked["Counts what is in case 3."].document == definitions["Case3.count"].bare_code
    assert {(p.query, p.document) for p in pairs["code2nl"]} == {
        (p.document, p.query) for p in asked.values()
    }
    wholes = {f"{pair.query}\n{pair.document}" for pair in pairs["code2completion"]}
    assert wholes == {definitions[f"work_{number}"].bare_code for number in range(8)}


def test_no_document_tells_its_own_query(tree):
    for pair in mine([tree], progress=False).train:
        assert pair.query not in pair.document
        assert pair.document not in pair.query


def test_the_same_tree_gives_the_same_pairs(tree):
    first, second = mine([tree], progress=False), mine([tree], progress=False)
    assert first == second


def test_duplicates_and_comments_that_describe_everything_are_counted(tree):
    first = tree / "part_0" / "code.py"
    (tree / "copy.py").write_text(first.read_text())
    (tree / "hooks.py").write_text(
        "\n".join(
            f'def hook_{n}(a):\n    """Called by the framework."""\n    b = a\n    return b + {n}\n'
            for n in range(5)
        )
    )
    plain = mine([tree], holdout=0, progress=False)
    assert plain.filtered["pair: duplicate"] == 5
    assert plain.filtered["pair: comment of more than 3 functions"] == 10
    assert not [pair for pair in plain.train if "framework" in pair.query]


def test_a_function_that_is_held_out_in_one_file_is_not_trained_on_from_another(tree):
    heldout = {pair.document for pair in mine([tree], progress=False).heldout if pair.task == "nl2code"}
    assert heldout
    for number in range(20):
        copy = tree / f"copy_{number}.py"
        copy.write_text("\n\n".join(code.replace("    ", "\t") for code in sorted(heldout)))
    mined = mine([tree], progress=False)
    held = {"".join(p.query.split()) for p in mined.heldout} | {
        "".join(p.document.split()) for p in mined.heldout
    }
    for pair in mined.train:
        assert "".join(pair.query.split()) not in held
        assert "".join(pair.document.split()) not in held


def test_every_pair_is_found_once_or_counted_as_left_out(tree):
    mined = mine([tree], progress=False)
    functions = sum(
        one.kind != "class" for place in tree.rglob("*.py") for one in parse_source("a.py", place.read_text())
    )
    commented = sum(pair.task == "nl2code" for pair in mined.train + mined.heldout)
    dropped = sum(n for why, n in mined.filtered.items() if why.startswith(("comment", "code")))
    assert commented + dropped == functions
    assert mined.sources.read == 8


def test_two_folders_of_one_name_are_refused(tree, tmp_path):
    other = tmp_path / "elsewhere" / "checkout"
    other.mkdir(parents=True)
    with pytest.raises(ValueError, match="called 'checkout'"):
        mine([tree, other])
