import os
import subprocess
import sys

from codequarry.data.shingles import shingles, tokens, whole


def test_case_spaces_and_unicode_forms_make_no_difference() -> None:
    assert tokens("Straße  caf\u0065\u0301 = X;\n") == tokens("STRASSE caf\u00e9=x;") != tokens("cafe")


def test_a_run_has_the_same_number_wherever_it_stands_and_another_one_when_its_order_changes() -> None:
    words = ["a", "b", "c", "d", "e", "a", "b", "c"]
    runs = shingles(words, 3).tolist()
    assert len(runs) == 6
    assert runs[0] == runs[5]
    assert len(set(runs)) == 5
    assert runs[0] not in shingles(["c", "b", "a"], 3).tolist()
    assert len(shingles(words[:2], 3)) == 0
    assert whole(words).tolist() != whole(words[:-1]).tolist()


def test_every_process_computes_the_same_numbers() -> None:
    program = (
        "from codequarry.data.shingles import *; print(shingles(tokens('def f(x): return x'), 3).tolist())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {f"{shingles(tokens('def f(x): return x'), 3).tolist()}\n"}
