"""A function of the standard library stands in an evaluation set; copies of it come in many disguises."""

import inspect
import statistics
import textwrap

import pytest

from codequarry.data.cleaning.decontamination import (
    NEAR,
    SAME_CODE,
    SAME_TEXT,
    SHARED_RUNS,
    EvaluationTexts,
)
from codequarry.data.eval_set import EvalSet

DEDENT, QUANTILES = inspect.getsource(textwrap.dedent), inspect.getsource(statistics.quantiles)
SHORT = "len(s)"


def eval_set(name: str, queries: list[str], documents: list[str]) -> EvalSet:
    return EvalSet(
        name,
        "nl2code",
        {f"q{n}": text for n, text in enumerate(queries)},
        {f"d{n}": text for n, text in enumerate(documents)},
        {f"q{n}": {"d0": 1} for n in range(len(queries))},
    )


@pytest.fixture(scope="module")
def known() -> EvaluationTexts:
    return EvaluationTexts(
        [
            eval_set("first", ["get the size of a string"], [DEDENT, SHORT]),
            eval_set("second", ["split data into intervals"], [QUANTILES, DEDENT]),
        ],
        progress=False,
    )


RENAMED = DEDENT.replace("def dedent(", "def f_gold(")
EMBEDDED = f"Here is how to do it.\n\n{inspect.getsource(textwrap.indent)}\n{RENAMED}"
HALF = "\n".join(QUANTILES.splitlines()[8:])


@pytest.mark.parametrize(
    ("text", "look", "name"),
    [
        (DEDENT, SAME_TEXT, "first"),
        ("Get the  size of a string", SAME_TEXT, "first"),
        (f"{SHORT}\n", SAME_TEXT, "first"),
        ("# found somewhere\n" + DEDENT, SAME_CODE, "first"),
        (RENAMED, NEAR, "first"),
        (EMBEDDED, SHARED_RUNS, "first"),
        (HALF, SHARED_RUNS, "second"),
    ],
)
def test_a_copy_is_found_in_its_disguise(known: EvaluationTexts, text: str, look: str, name: str) -> None:
    (found,) = known.find([text], progress=False)
    assert found is not None
    assert (found.look, found.eval_set) == (look, name)


def test_other_texts_are_clean_and_a_short_one_matches_only_whole(known: EvaluationTexts) -> None:
    clean = [inspect.getsource(textwrap.fill), inspect.getsource(statistics.median), "n = len(s) + 1", "",
             "how to get the size of a string in bytes", QUANTILES[:300]]  # fmt: skip
    assert known.find(clean, progress=False) == [None] * len(clean)


def test_runs_that_many_evaluation_texts_share_prove_nothing() -> None:
    head = (
        "#include <vector>\n#include <string>\nusing namespace std;\nint main() { cin.tie(0); return 0; }\n"
    )
    many = EvaluationTexts([eval_set("s", ["q"], [f"{head}int f{n};" for n in range(12)])], progress=False)
    few = EvaluationTexts([eval_set("s", ["q"], [f"{head}int f{n};" for n in range(3)])], progress=False)
    other = head + DEDENT
    assert many.find([other], progress=False) == [None]
    assert few.find([other], progress=False) != [None]


def test_the_fingerprint_follows_the_texts_and_nothing_known_finds_nothing() -> None:
    one = EvaluationTexts([eval_set("s", ["q"], ["d"])], progress=False)
    assert one.fingerprint == EvaluationTexts([eval_set("s", ["q"], ["d"])], progress=False).fingerprint
    assert one.fingerprint != EvaluationTexts([eval_set("s", ["q"], ["e"])], progress=False).fingerprint
    assert EvaluationTexts([], progress=False).find([DEDENT], progress=False) == [None]
