"""Golden vectors: the vectors of a release for a fixed set of awkward texts, stored with its weights.

A later reader of the folder, with another library version or another server, compares with them in seconds.
The file is JSON because servers take every `*.safetensors` in a folder for weights.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from codequarry.common.files import read_json, write_text
from codequarry.modules.tasks import SIDES, TASKS, PromptFamily, family_of, prompt_name
from codequarry.release.server_requirements import is_number
from codequarry.release.trained_run import family_trained_with

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

GOLDEN = "golden_vectors.json"

# What a text tests. `ordinary` texts have the same vector everywhere; runtimes are known to differ on the
# others, and `verify` names that difference.
Kind = Literal["ordinary", "special_tokens", "outer_whitespace", "decomposed"]

_SHORT = {
    ("nl2code", "query"): "parse an ISO 8601 date",
    ("nl2code", "document"): "def parse_date(text):\n    return datetime.fromisoformat(text)",
    ("qa", "query"): "Why does 0.1 + 0.2 not equal 0.3?",
    ("qa", "document"): "Binary fractions cannot hold one tenth; compare with math.isclose.",
    ("code2code", "query"): "for (int i = 0; i < n; i++) { sum += a[i]; }",
    ("code2code", "document"): "total = sum(a)",
    ("code2nl", "query"): "SELECT name FROM users WHERE age >= 18;",
    ("code2nl", "document"): "Names of all adult users.",
    ("code2completion", "query"): "def fibonacci(n):\n    if n < 2:",
    ("code2completion", "document"): "return n\n    return fibonacci(n - 1) + fibonacci(n - 2)",
}

# Written with escapes, so that no editor can normalise away what is being tested: a composed letter,
# Cyrillic, Chinese, an emoji outside the basic plane; and letters followed by their accents.
_NON_ASCII = "gr\u00f6\u00dfe = 1  # \u0440\u0430\u0437\u043c\u0435\u0440, \u5927\u5c0f \U0001f980"
_DECOMPOSED = "gro\u0308\u00dfe = 'cafe\u0301'"

_LOOK_ALIKES = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "<s>", "</s>",
    "<pad>", "<eos>",
)  # fmt: skip


@dataclass(frozen=True)
class GoldenText:
    """One text, the name of its prompt, and what it tests."""

    prompt_name: str
    text: str
    kind: Kind = "ordinary"


def golden_texts(max_length: int, special_tokens: tuple[str, ...] = ()) -> list[GoldenText]:
    """The texts of a model that reads `max_length` tokens and whose tokenizer has these `special_tokens`.

    Every task and side is there, and the plain prompts `query` and `document`; then texts of one character,
    tabs and Windows line ends, letters outside ASCII, composed and decomposed, and a text past the limit;
    then white space around a text, and texts that spell out a special token, those of common families as
    well as the model's own.
    """
    texts = [GoldenText(prompt_name(task, side), _SHORT[task, side]) for task in TASKS for side in SIDES]
    texts += [GoldenText(side, _SHORT["nl2code", side]) for side in SIDES]
    texts += [
        GoldenText("nl2code_query", "x"),
        GoldenText("code2completion_document", "}"),
        GoldenText("nl2code_document", "if a:\r\n\tif b:\r\n\t\treturn\tc"),
        GoldenText("code2code_query", _NON_ASCII),
        GoldenText("code2code_query", _DECOMPOSED, "decomposed"),
        GoldenText("nl2code_document", past_the_limit(max_length)),
        GoldenText("code2completion_document", "    return result\n\n", "outer_whitespace"),
    ]
    names = dict.fromkeys((*_LOOK_ALIKES, *special_tokens))
    texts += [GoldenText("code2nl_query", f"stop = {name!r}  # the end", "special_tokens") for name in names]
    return texts


def past_the_limit(max_length: int) -> str:
    """A text of more than `max_length` tokens whose first part does not repeat itself."""
    return "\n".join(f"value_{number} = read({number})" for number in range(max_length // 4 + 8))


def write_golden(folder: Path) -> None:
    """Embed the golden texts with stock sentence-transformers in float32 and write `golden_vectors.json`."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"dtype": "float32"}, local_files_only=True
    )
    dims = read_json(folder / "config.json")["matryoshka_dimensions"]
    write_golden_rows(folder, golden_rows(model), dims, family_of(model.prompts))


def golden_rows(model: "SentenceTransformer") -> list[dict[str, Any]]:
    """The golden texts of a model with its unit vectors of full size."""
    rows = []
    for one in golden_texts(model.max_seq_length or 0, tuple(model.tokenizer.all_special_tokens)):
        (vector,) = model.encode([one.text], prompt_name=one.prompt_name, show_progress_bar=False)
        # Nine decimals keep float32 of numbers below 1 to half a unit in the ninth.
        numbers = [round(float(number), 9) for number in vector]
        rows.append({"prompt_name": one.prompt_name, "kind": one.kind, "text": one.text, "vector": numbers})
    return rows


def write_golden_rows(
    folder: Path, rows: Sequence[Mapping[str, Any]], dims: Sequence[int], family: PromptFamily
) -> None:
    """Write `golden_vectors.json`; smaller dimensions are cut from its full vectors and normalised again."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    head = json.dumps({"prompts": family.prompts(), "dims": list(dims)}, ensure_ascii=False)
    write_text(folder / GOLDEN, f'{head[:-1]}, "rows": [\n{lines}\n]}}\n')


_AS_BUILT = "it was edited, or another version of codequarry built the release (its card names it)"


def check_golden(folder: Path) -> list[str]:
    """One sentence for each thing that is not as `write_golden` writes it: texts, prompts, dims, vectors.

    Raises what transformers raises on a tokenizer that it cannot read.
    """
    from transformers import AutoTokenizer

    try:
        golden = read_json(folder / GOLDEN)
        rows = {(row["prompt_name"], row["text"], row["kind"]): row["vector"] for row in golden["rows"]}
        dims, saved = golden["dims"], golden["prompts"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return [f"{GOLDEN} cannot be read ({type(error).__name__}: {error})."]
    trained = read_json(folder / "config.json")["matryoshka_dimensions"]
    problems = []
    if dims != trained:
        problems.append(f"{GOLDEN} has dims {dims}, config.json {trained}.")
    if saved != family_trained_with(read_json(folder / "training.json")).prompts():
        problems.append(f"{GOLDEN} has other prompts than the tasks: {_AS_BUILT}.")
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    texts = golden_texts(tokenizer.model_max_length, tuple(tokenizer.all_special_tokens))
    lacking = [text for text in texts if (text.prompt_name, text.text, text.kind) not in rows]
    if lacking:
        problems.append(
            f"{GOLDEN} lacks {len(lacking)} of {len(texts)} texts, such as {lacking[0].text[:40]!r} with the "
            f"prompt {lacking[0].prompt_name}: {_AS_BUILT}."
        )
    size = trained[0]
    wrong = [text for (_, text, _), vector in rows.items() if not _is_unit(vector, size)]
    if wrong:
        problems.append(
            f"{GOLDEN} has no unit vector of {size} numbers for {len(wrong)} of its texts, such as "
            f"{wrong[0][:40]!r}."
        )
    return problems


def _is_unit(vector: Any, size: int) -> bool:
    if not isinstance(vector, list) or len(vector) != size or not all(map(is_number, vector)):
        return False
    return abs(math.hypot(*vector) - 1) < 1e-4
