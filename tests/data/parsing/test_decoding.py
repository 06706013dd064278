import random

import pytest

from codequarry.data.parsing.decoding import decode

CODE = 'def total(items):\n    """{word}"""\n    return sum(items)\n'
MARKED = {"utf-8": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff",
          "utf-32-le": b"\xff\xfe\0\0", "utf-32-be": b"\0\0\xfe\xff"}  # fmt: skip
WORDS = {
    "utf-8": "naïve 合計",
    "cp1252": "“quoted” größer",
    "latin-1": "Jörg Müller",
    "cp932": "合計を計算する",
    "euc_jp": "合計を計算する",
}


@pytest.mark.parametrize("encoding", MARKED)
def test_a_byte_order_mark_decides(encoding):
    text = CODE.format(word="größer 合計 \U0001f600")
    assert decode(MARKED[encoding] + text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_wide_characters_without_a_mark_are_known_by_their_nulls(encoding, newline):
    text = CODE.format(word="größer").replace("\n", newline)
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", WORDS)
def test_a_text_without_a_declaration_is_read_in_its_own_encoding(encoding):
    text = CODE.format(word=WORDS[encoding])
    assert decode(text.encode(encoding)) == text


DECLARATIONS = {
    "latin-1": "# -*- coding: latin-1 -*-\n",
    "iso-8859-2": "#!/usr/bin/env python\n# vim: set fileencoding=iso-8859-2 :\n",
    "koi8-r": "\n# coding=koi8-r\n",
    "cp932": "# coding: cp932\n",
    "gb18030": "# encoding: gb18030\n",
}


@pytest.mark.parametrize("encoding", DECLARATIONS)
def test_python_s_declared_coding_comes_before_utf_8(encoding):
    word = {"koi8-r": "привет", "gb18030": "计算", "cp932": "合計"}.get(encoding, "größer")
    text = DECLARATIONS[encoding] + CODE.format(word=word)
    assert decode(text.encode(encoding), is_python=True) == text


@pytest.mark.parametrize(
    ("head", "encoding"),
    [("<?xml version='1.0' encoding='koi8-r'?>\n", "koi8-r"), ("# encoding: koi8-r\n", "koi8-r"),
     ('<meta charset="windows-1251">\n', "cp1251"), ("// -*- coding: cp1251 -*-\n", "cp1251")],
)  # fmt: skip
def test_other_languages_declare_what_is_read_when_utf_8_fails(head, encoding):
    text = f"{head}привет\n"
    assert decode(text.encode(encoding)) == text
    assert decode(text.encode()) == text


@pytest.mark.parametrize(
    "name",
    ["rot13", "utf-7", "unicode_escape", "raw_unicode_escape", "hex", "zlib", "idna", "punycode", "undefined",
     "cp037", "utf-16", "hz", "mbcs", "nonsense", "..os", "a" * 900],
)  # fmt: skip
def test_a_coding_that_is_a_trick_is_not_obeyed(name):
    text = f"# coding: {name}\nx = '+AGE- \\x41 ~{{'\n"
    assert decode(text.encode(), is_python=True) == text


def test_a_wrong_declaration_does_not_lose_the_file():
    text = "# coding: utf-8\n# Jörg\n"
    assert decode(text.encode("latin-1"), is_python=True) == text


def test_a_few_broken_letters_do_not_turn_utf_8_into_something_else():
    assert (
        decode("größer und größer und größer".encode() + b" \xff.\n")
        == "größer und größer und größer \ufffd.\n"
    )


def test_one_null_is_no_binary_and_no_parser_meets_it():
    assert decode(CODE.format(word="a\0b").encode()) == CODE.format(word="a\ufffdb")
    assert decode(b"x = 1\0") == "x = 1\ufffd"


@pytest.mark.parametrize("seed", range(20))
def test_bytes_of_a_program_or_a_picture_are_no_text(seed):
    draw = random.Random(seed)
    assert decode(draw.randbytes(1_000)) is None
    assert decode(b"\x7fELF\x02\x01\x01" + bytes(9) + draw.randbytes(300)) is None
    assert decode(b"".join(draw.randrange(5_000).to_bytes(4, "little") for _ in range(200))) is None
    assert decode(b"\xff\xfe" + draw.randbytes(2_000)) is None


def test_line_numbers_are_those_of_the_file_in_every_encoding():
    text = "\n".join(f"größer {number}" for number in range(50))
    for encoding in ("utf-8", "latin-1", "utf-16", "utf-32", "cp1252"):
        assert decode(text.encode(encoding)).count("\n") == 49
