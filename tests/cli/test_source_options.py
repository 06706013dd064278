import argparse

import pytest

from codequarry.cli.source_options import add_source_options, print_left_out
from codequarry.data.parsing.source_report import LeftOut

BINARY = LeftOut("a\x1b.py", "binary")
PICTURE = LeftOut("b.png", "picture, archive or program")


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_source_options(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "left_out", "lines"),
    [
        ([], [], []),
        ([], [PICTURE], []),
        ([], [PICTURE, BINARY], ["left out 2 files: 1 binary, 1 picture"]),
        (["--list-skipped"], [PICTURE], ["b.png\tpicture, archive or program"]),
        (["--list-skipped"], [BINARY], ["left out 1 file: 1 binary", "a\\x1b.py\tbinary"]),
    ],
)
def test_standard_error_names_what_was_left_out(capsys, words, left_out, lines):
    print_left_out(left_out, parsed(*words))
    printed = capsys.readouterr()
    assert printed.out == ""
    said = printed.err.splitlines()
    assert len(said) == len(lines)
    assert all(line.startswith(start) for line, start in zip(said, lines, strict=True))


def test_patterns_may_be_repeated():
    options = parsed("--include", "a", "--include", "b", "--exclude", "c")
    assert (options.include, options.exclude) == (["a", "b"], ["c"])
