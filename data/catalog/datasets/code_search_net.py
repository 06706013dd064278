"""CodeSearchNet's comments → functions, out of CodeXGLUE's cloze test, in six languages.

The cloze test masks one word, `max` or `min`, in functions of CodeSearchNet (Husain et al., 2019). The
answers are not in the repository, so the mask is filled by what the comment speaks of; a wrong guess changes
one word.
"""

import json
import re

from codequarry.data.catalog.datasets.python_problems import set_of_pairs
from codequarry.data.catalog.schema import EvalSource, Files, Git
from codequarry.data.eval_set import EvalSet

_LANGUAGES = ("python", "java", "php", "javascript", "go", "ruby")


def read_codesearchnet_real(files: Files) -> EvalSet:
    """Comment → function, both as the source's tokens with a space between them."""
    by_language = {path.split("/")[-2]: content for path, content in files}
    pairs = []
    for language in _LANGUAGES:
        for row in json.loads(by_language.get(language, b"[]")):
            comment = " ".join(row["nl_tokens"]).strip()
            code = " ".join(row["pl_tokens"]).replace("<mask>", _masked(comment))
            code = re.sub(r" ?\n ?", "\n", code).strip()  # Go's line ends are tokens as well
            pairs.append((comment, code, language))
    return set_of_pairs("codesearchnet_real", "nl2code", pairs)


def _masked(comment: str) -> str:
    said = comment.lower()
    return "min" if "min" in said and "max" not in said else "max"


_CODEXGLUE = "ac74a62802a0dd159b3258c78a2df8ad36cdf2b9"

EVAL_SOURCES: tuple[EvalSource, ...] = (
    EvalSource(
        name="codesearchnet_real",
        task="nl2code",
        where=(
            Git(
                "microsoft/CodeXGLUE",
                _CODEXGLUE,
                ("/Code-Code/ClozeTesting-maxmin/data/cloze-maxmin/*/clozeTest.json",),
            ),
        ),
        licence="LicenseRef-per-repository",
        languages=("python", "java", "php", "javascript", "go", "ruby"),
        read=read_codesearchnet_real,
        mirrors="COIRCodeSearchNetRetrieval",
        faithful=(
            "Genuine CodeSearchNet pairs, but tokenised, all languages in one corpus, and only functions "
            "that call max or min: do not compare scores."
        ),
        queries=2466,
        documents=2615,
    ),
)
