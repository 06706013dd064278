import pytest

from codequarry.data.mining.mine import mine
from codequarry.data.mining.own_licence import HEAD, is_vendored, names_copyleft

FUNCTION = (
    '{head}def {name}(a, b):\n    """Add two numbers and give their {name}."""\n'
    "    total = a + b\n    print(total)\n    return total\n"
)


@pytest.mark.parametrize("path", ["third_party/a.py", "src/ThirdParty/zip.c", "deps/y.h", "a/Externals/b.cs"])
def test_a_folder_of_other_peoples_code_is_told_by_its_name(path):
    assert is_vendored(path)


@pytest.mark.parametrize("path", ["src/a.py", "vendor.py", "src/vendors.go", "independent/a.py"])
def test_a_file_or_a_longer_word_is_not_such_a_folder(path):
    assert not is_vendored(path)


@pytest.mark.parametrize(
    "head",
    [
        "/* This file is part of X, under the GNU Lesser General Public License. */",
        "// SPDX-License-Identifier: GPL-2.0-or-later",
        "# Licensed under LGPLv3",
        " * This Source Code Form is subject to the terms of the Mozilla Public License, v. 2.0.",
        "// EPL-2.0",
        "# Taken from an answer under CC BY-SA 4.0",
    ],
)
def test_a_copyleft_licence_in_the_first_lines_is_seen(head):
    assert names_copyleft(head + "\nint main() {}")
    assert not names_copyleft(" " * HEAD + head)


@pytest.mark.parametrize(
    "head",
    ["// Apache License, Version 2.0", "# MIT", "an example of compilation: implicit, eplison", "simple"],
)
def test_a_permissive_licence_or_a_like_word_is_not_taken_for_one(head):
    assert not names_copyleft(head)


def test_mining_under_its_own_licence_leaves_out_foreign_files_and_their_commits(repository):
    gpl = "# GNU General Public License\n"
    repository.commit("Begin", {"readme.py": "x = 1\n"})
    places = {"src/own.py": "", "src/copied.py": gpl, "deps/other.py": ""}
    for number, (path, head) in enumerate(places.items()):
        text = FUNCTION.format(head=head, name=f"sum_{number}")
        repository.commit(f"Add the function of part {number} at once", {path: text})
    of_all, own = (
        mine([repository.folder], kinds=["docstring", "commit"], holdout=0, own_licence=own, progress=False)
        for own in (False, True)
    )
    assert {kind: len(found) for kind, found in of_all.by_kind["train"].items()} == {
        "docstring": 3,
        "commit": 3,
    }
    assert {kind: len(found) for kind, found in own.by_kind["train"].items()} == {"docstring": 1, "commit": 1}
    assert own.files.skipped["not under the repository's licence"] == 2
    assert own.filtered["commit: of a foreign file"] == 2
