from codequarry.data.sources.train_readers.cheat_sheets import read_cheat_sheets

SHEET = b"""---
tags: [ compression ]
---
# To extract a .tar
# in specified directory:
tar -xvf /path/to/foo.tar -C /path

# To print the version:
uname -v
# #1 SMP Debian

# short
ls

# A comment alone

echo alone
"""


def test_a_block_is_its_comment_and_its_lines():
    (pair,) = read_cheat_sheets([("cheat/cheatsheets/tar", SHEET)])
    assert pair.query == "To extract a .tar in specified directory"
    assert pair.document == "tar -xvf /path/to/foo.tar -C /path"
    assert pair.language == "bash"


def test_the_folder_names_the_language():
    sheet = b"# Transpose a matrix\nlist(zip(*matrix))\n"
    (pair,) = read_cheat_sheets([("chubin/cheat.sheets/sheets/_python/1line", sheet)])
    assert pair.language == "python"


def test_files_about_the_sheets_and_broken_text_are_passed_over():
    sheet = b"# Transpose a matrix\nlist(zip(*matrix))\n"
    assert not list(
        read_cheat_sheets([("a/b/sheets/_info.yaml", sheet), ("a/b/c", b"# Bad \xff text\nls\n")])
    )
