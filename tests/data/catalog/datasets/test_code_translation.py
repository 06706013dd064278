import pytest

from codequarry.data.catalog.datasets.code_translation import read_codexglue_java_cs, read_transcoder

PYTHON = b"""# Copyright
def f_gold ( n ) :
    return n + 1


#TOFILL

if __name__ == '__main__':
    param = []
"""

C = b"""// Copyright
#include <stdio.h>

int f_gold ( int n ) {
  return n + 1;
}


int f_filled ( int n ) {}
"""

RUST = b"""pub unsafe extern "C" fn f_gold(mut n: libc::c_int) -> libc::c_int {
    return n + 1;
}
"""


def files(**contents):
    return [
        (f"facebookresearch/CodeGen/data/transcoder_evaluation_gfg/{language}/ADD.x", content)
        for language, content in contents.items()
    ]


def test_functions_are_cut_out_and_paired_in_both_directions():
    pairs = {pair.language: pair for pair in read_transcoder(files(python=PYTHON, c=C, rust=RUST))}
    assert set(pairs) == {"python-c", "python-rust"}
    assert pairs["python-c"].query == "def f_gold ( n ) :\n    return n + 1"
    assert pairs["python-c"].document == "int f_gold ( int n ) {\n  return n + 1;\n}"
    assert pairs["python-rust"].document == (
        "pub unsafe fn f_gold(mut n: i32) -> i32 {\n    return n + 1;\n}"
    )


def test_the_same_text_in_c_and_cpp_is_one_document():
    pairs = [pair.language for pair in read_transcoder(files(python=PYTHON, c=C, cpp=C))]
    assert pairs == ["cpp-python", "python-c"]


# Lines of the source as they are; the first Java method stands there twice, with two translations.
JAVA = (
    "public RevFilter clone() {return new Binary(a.clone(), b.clone());}\n"
    "public ObjectId getObjectId() {return objectId;}\n"
    "public RevFilter clone() {return new Binary(a.clone(), b.clone());}\n"
)

CSHARP = (
    "public override TreeFilter Clone(){return new AndTreeFilter.Binary(a.Clone(), b.Clone());}\n"
    "public virtual ObjectId GetObjectId(){return objectId;}\n"
    "public override RevFilter Clone(){return new AndRevFilter.Binary(a.Clone(), b.Clone());}\n"
)


def test_a_method_that_stands_there_twice_has_two_right_answers() -> None:
    found = read_codexglue_java_cs([("a/test.txt.java", JAVA.encode()), ("a/test.txt.cs", CSHARP.encode())])
    assert found.relevant == {"q0": {"d0": 1, "d2": 1}, "q1": {"d1": 1}}
    assert found.documents["d2"].startswith("public override RevFilter Clone()")


def test_files_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="4 lines and the C# file 3"):
        read_codexglue_java_cs([("a.java", JAVA.encode()), ("a.cs", b"one\ntwo\n")])
