"""sentence-transformers' own tests of its class over ours: what passes there passes here, but for a list.

The oracle is the same run over the stock class: tests that fail there, for want of the network or because the
package has moved on since, say nothing. They come out of the last source distribution that has them, read
from the package index and checked against its sha256; nothing of them is kept here.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest
from stock_suite import write_stand_ins

from codequarry.common.errors import UserError
from codequarry.data.catalog.fetch import read_distribution
from codequarry.data.catalog.schema import Distribution

HERE = Path(__file__).parent
SUITE = Distribution(
    "sentence_transformers",
    "5.3.0",
    "414a0a881f53a4df0e6cbace75f823bfcb6b94d674c42a384b498959b7c065e2",
)
# Those of several processes start sixty of them; `test_embedder_calls.py` has one of ours.
MODULES = ["test_sentence_transformer", "test_compute_embeddings", "test_model_card_data"]


@dataclass(frozen=True)
class Refusal:
    """Tests that pass on the stock class and not on ours. sentence: in what they say. why: the purpose."""

    test: str
    sentence: str
    why: str


REFUSALS = (
    Refusal(
        "test_encode_truncate[",
        "embedding dim 256 is not among the trained dims",
        "More dimensions than the model has: the stock class returns what there is.",
    ),
    Refusal(
        "test_encode_truncate[",
        "assert False",
        "Truncated vectors are of unit length also with normalize_embeddings=False, which is the default.",
    ),
    Refusal(
        "test_model_card_save_update_model_id",
        "",
        "The card is rendered from results, not from the stock template.",
    ),
    Refusal(
        "test_encode_tuple_sentences",
        "is tuple, not a string",
        "A pair has no place for the instruction prefix: the stock class puts it in front of the first text.",
    ),
)


def outcomes(folder: Path, which: str) -> dict[str, tuple[str, str]]:
    """Of each test, whether it passed and what it said, over the `stock` class or `ours`."""
    record = folder / f"{which}.jsonl"
    environment = os.environ | {
        "STOCK_SUITE_CLASS": which,
        "STOCK_SUITE_RECORD": str(record),
        "HF_HUB_CACHE": str(folder / "hub"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[2]), os.environ.get("PYTHONPATH", "")]),
    }
    files = [f"tests/{name}.py" for name in MODULES]
    options = [
        "-q",
        "-p",
        "stock_suite",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-o",
        "addopts=",
        "--rootdir=.",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert record.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    found: dict[str, tuple[str, str]] = {}
    for line in record.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if found.get(row["test"], ("passed",))[0] == "passed":  # a fault of an earlier phase stays
            found[row["test"]] = (row["outcome"], row["why"])
    return found


@pytest.mark.exhaustive
def test_what_passes_on_the_stock_class_passes_on_ours(tmp_path: Path) -> None:
    try:
        for name, content in read_distribution(SUITE):
            path = name.removeprefix(f"{SUITE.package}/")
            if path.startswith("tests/"):
                (tmp_path / "tests").mkdir(exist_ok=True)
                (tmp_path / path).write_bytes(content)
    except (UserError, OSError) as error:
        pytest.skip(f"the source distribution with the tests is not to be had: {error}")
    (tmp_path / "tests/__init__.py").touch()
    (tmp_path / "tests/utils.py").write_text("def is_ci() -> bool:\n    return False\n")
    write_stand_ins(tmp_path / "hub")
    stock, ours = outcomes(tmp_path, "stock"), outcomes(tmp_path, "ours")
    passed = [test for test, (outcome, _) in stock.items() if outcome == "passed"]
    assert len(passed) > 200, "most of the suite runs without a network"
    refused = defaultdict(list)
    for test in passed:
        outcome, why = ours.get(test, ("missing", ""))
        if outcome != "passed":
            refused[next((row for row in REFUSALS if row.test in test and row.sentence in why), test)].append(
                why
            )
    assert set(refused) <= set(REFUSALS), refused
