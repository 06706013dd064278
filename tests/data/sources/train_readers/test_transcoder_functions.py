from codequarry.data.sources.train_readers.transcoder_functions import read_transcoder

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
