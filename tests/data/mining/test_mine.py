import subprocess
import sys
import textwrap

import pytest

from codequarry.data.mining.mine import REASONS, mine, read_files
from codequarry.data.mining.schema import KINDS
from codequarry.data.parsing.parse import parse_source

WORDS = "apple pear plum fig lime kiwi date nut corn bean rice leek kale beet dill mint sage thyme basil"


def code(number):
    """A function and a method that share no three tokens in a row with those of another number."""
    fruit = [f"{word}_{number}" for word in WORDS.split()]
    steps = "\n".join(f"    {a} = {b}({c})" for a, b, c in zip(fruit, fruit[1:], fruit[2:], strict=False))
    return (
        f'def work_{number}(a):\n    """Works on case number {number}.\n\n'
        f'    Args:\n        a: case."""\n{steps}\n    return a + {number}\n\n\n'
        f"class Case{number}:\n    # Counts what is in case {number}.\n"
        f"    def count(self):\n        size = {fruit[0]}.{fruit[1]}({fruit[2]}, {fruit[3]}) + {number}\n"
        f"        return {fruit[4]}(size, {fruit[5]})\n"
    )


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "checkout"
    for number in range(8):
        place = root / f"part_{number}" / "code.py"
        place.parent.mkdir(parents=True)
        place.write_text(code(number))
    return root


def test_four_kinds_of_pairs_come_from_functions_and_methods(tree):
    mined = mine([tree], holdout=0, progress=False)
    pairs = mined.by_kind["train"]
    assert {kind: len(found) for kind, found in pairs.items()} == {
        "docstring": 16, "comment": 16, "completion": 8, "signature": 8, "test": 0, "commit": 0
    }  # fmt: skip
    assert all(pair.task == KINDS[kind].task for kind, found in pairs.items() for pair in found)
    assert {(pair.source, pair.language) for pair in mined.train} == {("checkout", "python")}
    definitions = {
        one.name: one
        for place in sorted(tree.rglob("*.py"))
        for one in parse_source(place.name, place.read_text())
    }
    asked = {pair.query: pair for pair in pairs["docstring"]}
    assert asked["Works on case number 3."].document == definitions["work_3"].bare_code
    assert asked["Counts what is in case 3."].document == definitions["Case3.count"].bare_code
    assert {(p.query, p.document) for p in pairs["comment"]} == {
        (p.document, p.query) for p in asked.values()
    }
    assert {pair.query for pair in pairs["signature"]} == {
        definitions[f"work_{number}"].code.split("    apple")[0].rstrip() for number in range(8)
    }
    wholes = {f"{pair.query}\n{pair.document}" for pair in pairs["completion"]}
    assert wholes == {definitions[f"work_{number}"].bare_code for number in range(8)}


def test_a_test_finds_its_function_across_files_and_processes(tree, monkeypatch):
    (tree / "test_all.py").write_text("def test_work_3():\n    found = work_3(1)\n    assert found\n")
    monkeypatch.setattr("codequarry.data.mining.mine._BATCH", 2)
    (one,) = mine([tree], holdout=0, progress=False).by_kind["train"]["test"]
    assert one.document == next(d.bare_code for d in parse_source("a.py", code(3)) if d.name == "work_3")


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
            f'def hook_{n}(a):\n    """Called by the framework."""\n    b{n} = a{n}\n    return b{n} + {n}\n'
            for n in range(5)
        )
    )
    plain = mine([tree], holdout=0, progress=False)
    assert plain.filtered["pair: duplicate"] == 6
    assert plain.filtered["pair: query of more than 3 documents"] == 10
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
    assert mined.files.read == 8


def test_two_folders_of_one_name_are_refused(tree, tmp_path):
    other = tmp_path / "elsewhere" / "checkout"
    other.mkdir(parents=True)
    with pytest.raises(ValueError, match="called 'checkout'"):
        mine([tree, other])


def test_any_number_of_processes_gives_the_same_pairs(tree, monkeypatch):
    alone = mine([tree], workers=1, progress=False)
    monkeypatch.setattr("codequarry.data.mining.mine._WORTH_A_PROCESS", 1)
    monkeypatch.setattr("codequarry.data.mining.mine._BATCH", 3)
    assert mine([tree], workers=2, progress=False) == alone


def test_a_limit_keeps_the_same_pairs_whatever_else_there_is(tree):
    every = mine([tree], progress=False)
    some = mine([tree], max_pairs=5, progress=False)
    for kind in ("docstring", "comment", "completion", "signature"):
        kept = [pair for side in ("train", "heldout") for pair in some.by_kind[side][kind]]
        found = [pair for side in ("train", "heldout") for pair in every.by_kind[side][kind]]
        assert len(kept) == 5
        assert [pair for pair in found if pair in kept] == kept
    first = every.by_kind["train"]["docstring"] + every.by_kind["heldout"]["docstring"]
    assert [pair for pair in first if pair in some.train + some.heldout] != first[
        :5
    ]  # not one folder's alone
    assert some.filtered["pair: over the limit"] == len(every.train + every.heldout) - 20


@pytest.fixture
def grown(repository):
    """Eight files, each in a commit of its own."""
    for number in range(8):
        repository.commit(f"Write the code of case {number}", {f"part_{number}.py": code(number)})
    return repository


def test_a_checkout_gives_its_commits_as_well(grown):
    mined = mine([grown.folder], progress=False)
    commits = mined.by_kind["train"]["commit"] + mined.by_kind["heldout"]["commit"]
    assert sorted(pair.query for pair in commits) == [f"Write the code of case {n}" for n in range(1, 8)]
    assert mined.sources == {"project": None}


def test_by_time_what_was_changed_last_is_held_out(grown):
    grown.commit("Think of the first case once more", {"part_0.py": code(0).replace("date", "grape")})
    mined = mine([grown.folder], split="time", holdout=0.25, progress=False)
    assert {pair.query for pair in mined.by_kind["heldout"]["docstring"]} == {
        text for n in (0, 7) for text in (f"Works on case number {n}.", f"Counts what is in case {n}.")
    }
    assert [pair.query for pair in mined.by_kind["heldout"]["commit"]] == [
        "Think of the first case once more",
        "Write the code of case 7",
    ]


def test_a_commit_is_read_as_it_was_and_named(grown):
    old = grown.git("rev-parse", "HEAD~4")
    mined = mine([grown.folder], commit=old, holdout=0, progress=False)
    assert mined.files.read == 4
    assert mined.sources == {"project": old}
    assert len(mined.by_kind["train"]["commit"]) == 3


def test_without_history_commits_are_counted_as_absent_or_missed_when_asked_for(tree):
    assert mine([tree], progress=False).filtered["commit: no history"] == 1
    for more in ({"kinds": ["commit"]}, {"split": "time"}):
        with pytest.raises(ValueError, match="checkout has no commits"):
            mine([tree], progress=False, **more)


def test_every_reason_that_is_counted_is_written_down_with_its_meaning(tree, grown):
    (tree / "more.py").write_text(
        'def f(a):\n    """TODO"""\n    a()\n    a()\n\ndef test_g():\n    a()\n    a()\n'
    )
    mined = mine([tree, grown.folder], progress=False)
    assert len(mined.filtered) >= 5
    assert set(mined.filtered) <= set(REASONS)
    assert all(reason.meaning for reason in REASONS.values())


def test_no_held_out_text_nearly_repeats_in_training(tree):
    for number in range(8):
        copy = code(number).replace("mint", "parsley").replace("Works on case", "Deals with case")
        (tree / f"copy_{number}.py").write_text(copy)
    mined = mine([tree], progress=False)
    assert mined.filtered["train: nearly held out"] + mined.filtered["pair: near-duplicate"] >= 8
    for kind in ("docstring", "completion"):
        held = {
            word
            for pair in mined.by_kind["heldout"][kind]
            for word in pair.document.split()
            if "thyme" in word
        }
        assert held
        for pair in mined.by_kind["train"][kind]:
            assert held.isdisjoint(pair.document.split())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"holdout": 1}, "holdout is 1"),
        ({"split": "size"}, "no way to split"),
        ({"kinds": ["docstrings"]}, "Did you mean 'docstring'"),
        ({"workers": 0}, "workers is 0"),
        ({"max_pairs": 0}, "max_pairs is 0"),
        ({"commit": "main"}, "is no commit"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_read(tree, more, words):
    with pytest.raises(ValueError, match=words):
        mine([tree], progress=False, **more)


def test_a_folder_without_source_files_says_what_it_holds_instead(tmp_path):
    root = tmp_path / "pictures"
    root.mkdir()
    (root / "a.png").write_bytes(b"x")
    (root / "a.md").write_text("words")
    with pytest.raises(ValueError, match=r"pictures holds no source file to mine \(1 not a .*, 1 picture"):
        mine([root], progress=False)


def test_a_commit_belongs_to_one_repository(tree, grown):
    with pytest.raises(ValueError, match="2 were passed"):
        mine([tree, grown.folder], commit="0" * 40)


def test_files_are_counted_the_same_by_one_process_and_by_two(tmp_path, monkeypatch):
    for number in range(9):
        (tmp_path / f"part_{number}.py").write_text(f"def f():\n    a()\n    return {number}\n")
    (tmp_path / "old.py").write_text("print ((\n")
    (tmp_path / "notes.md").write_text("words")
    monkeypatch.setattr("codequarry.data.mining.mine._BATCH", 2)
    monkeypatch.setattr("codequarry.data.mining.mine._WORTH_A_PROCESS", 1)
    kinds = ("docstring", "completion", "test")
    one, two = (read_files(tmp_path, "here", kinds, workers=n, progress=False) for n in (1, 2))
    assert one == two
    assert one.report.read == 10
    assert one.report.skipped == {"does not parse": 1, "not a language that is mined": 1}
    assert [function.path for function in one.functions] == [f"part_{number}.py" for number in range(9)]


@pytest.mark.parametrize("guarded", [True, False])
def test_a_script_of_ones_own_works_or_says_how_it_would(tmp_path, guarded):
    code = tmp_path / "code"
    code.mkdir()
    for number in range(210):
        (code / f"part_{number}.py").write_text(f"def f():\n    a()\n    return {number}\n")
    body = """
        from codequarry.data.mining.mine import mine
        {guard}
            try:
                print(mine([{code!r}], kinds=["completion"], progress=False).files.read)
            except ValueError as error:
                print("error:", error)
    """
    script = tmp_path / "script.py"
    guard = 'if __name__ == "__main__":' if guarded else "if True:"
    script.write_text(textwrap.dedent(body).format(guard=guard, code=str(code)))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "210\n" if guarded else "pass workers=1" in done.stdout


SCRIPT = (
    '#!/usr/bin/env python3\ndef start(a):\n    """Starts the engine slowly."""\n    b = a\n    return b\n'
)


def test_files_without_an_ending_are_mined_by_their_first_line(tmp_path):
    (tmp_path / "deploy").write_text(SCRIPT)
    (tmp_path / "notes").write_text("Only words.\n")
    mined = mine([tmp_path], kinds=["docstring"], holdout=0, progress=False)
    assert [pair.query for pair in mined.train] == ["Starts the engine slowly."]
    assert mined.files.left_out == [("notes", "not a language that is mined", "")]


def test_a_checkout_and_its_bare_clone_give_the_same_scripts(repository, tmp_path):
    repository.commit("Begin", {"deploy": SCRIPT, "build/tool.py": SCRIPT, "notes": "Only words."})
    bare = tmp_path / "bare.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(repository.folder), str(bare)], check=True)
    found = [
        [pair.document for pair in mine([folder], kinds=["docstring"], holdout=0, progress=False).train]
        for folder in (repository.folder, bare)
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 1  # the two are equal


def test_the_user_s_patterns_say_what_is_mined(tree):
    (tree / "made_pb2.py").write_text(code(100))
    asked = {pair.query for pair in mine([tree], holdout=0, progress=False).train}
    mined = mine([tree], holdout=0, progress=False, include=["*_pb2.py"], exclude=["part_0"])
    more = {pair.query for pair in mined.train}
    assert "Works on case number 100." in more - asked
    assert "Works on case number 0." in asked - more
    assert ("part_0/", "excluded", "") in mined.files.left_out


def test_a_file_that_breaks_the_reader_is_named_and_passed_over(tree, monkeypatch):
    import codequarry.data.mining.mine as module

    read = module.read_source

    def break_on_one(folder, path, *more):
        if path == "part_3/code.py":
            raise RecursionError("too deep")
        return read(folder, path, *more)

    monkeypatch.setattr(module, "read_source", break_on_one)
    mined = mine([tree], holdout=0, progress=False)
    assert mined.files.read == 7
    assert mined.files.left_out == [("part_3/code.py", "unreadable", "RecursionError: too deep")]


def test_what_is_left_out_of_several_trees_is_named_with_its_tree(tree, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.py").write_text(code(9))
    (other / "b_pb2.py").write_text(code(10))
    left_out = mine([tree, other], holdout=0, progress=False).files.left_out
    assert left_out == [("other/b_pb2.py", "generated", "")]
