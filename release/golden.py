"""Golden vectors: the vectors of a release for a fixed set of awkward texts, stored with its weights.

A later reader of the folder, with another library version or another server, compares with them in seconds.
The file is JSON because servers take every `*.safetensors` in a folder for weights.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tqdm import tqdm

from codequarry.common.files import read_json, read_rows, write_text
from codequarry.modules.golden_vectors import GOLDEN, golden_json
from codequarry.modules.static_files import is_static
from codequarry.modules.tasks import PromptFamily, family_of
from codequarry.release.server_requirements import is_number
from codequarry.release.static import STATIC_LENGTH
from codequarry.release.trained_run import family_trained_with

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# What a text tests. `ordinary` texts have the same vector everywhere; runtimes are known to differ on the
# others, and `verify` names that difference.
Kind = Literal["ordinary", "special_tokens", "outer_whitespace", "decomposed"]

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


_FIXED = read_rows(Path(__file__).with_name("golden_texts.toml"), GoldenText)


def golden_texts(max_length: int, special_tokens: tuple[str, ...] = ()) -> list[GoldenText]:
    """The texts of a model that reads `max_length` tokens and whose tokenizer has these `special_tokens`.

    Every task and side is there, and the plain prompts `query` and `document`; then texts of one character,
    tabs and Windows line ends, letters outside ASCII, composed and decomposed, and a text past the limit;
    then white space around a text, and texts that spell out a special token, those of common families as
    well as the model's own.
    """
    texts = [*_FIXED, GoldenText("nl2code_document", past_the_limit(max_length))]
    texts.append(GoldenText("code2completion_document", "    return result\n\n", "outer_whitespace"))
    names = dict.fromkeys((*_LOOK_ALIKES, *special_tokens))
    texts += [GoldenText("code2nl_query", f"stop = {name!r}  # the end", "special_tokens") for name in names]
    return texts


def past_the_limit(max_length: int) -> str:
    """A text of more than `max_length` tokens whose first part does not repeat itself."""
    return "\n".join(f"value_{number} = read({number})" for number in range(max_length // 4 + 8))


def write_golden(folder: Path, *, progress: bool = False) -> None:
    """Embed the golden texts with stock sentence-transformers in float32 and write `golden_vectors.json`.

    progress: a bar on stderr, where it takes more than two seconds.
    """
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"dtype": "float32"}, local_files_only=True
    )
    model.float()  # sentence-transformers reads a static model in the type of its file
    dims = read_json(folder / "config.json")["matryoshka_dimensions"]
    write_golden_vectors(folder, model, dims, family_of(model.prompts), progress=progress)


def write_golden_vectors(
    folder: Path,
    model: "SentenceTransformer",
    dims: Sequence[int],
    family: PromptFamily,
    *,
    progress: bool = False,
) -> None:
    """Write `golden_vectors.json`: the golden texts with unit vectors of full size by `model`.

    Smaller dimensions are cut from these and normalised again. `progress` as in `write_golden`.
    """
    rows = []
    if is_static(folder):
        texts = golden_texts(STATIC_LENGTH)
    else:
        texts = golden_texts(model.max_seq_length or 0, tuple(model.tokenizer.all_special_tokens))
    for one in tqdm(texts, "golden vectors", delay=2, unit="text", leave=False, disable=not progress):
        (vector,) = model.encode([one.text], prompt_name=one.prompt_name, show_progress_bar=False)
        rows.append((one.prompt_name, one.kind, one.text, vector))
    write_text(folder / GOLDEN, golden_json({"prompts": family.prompts(), "dims": list(dims)}, rows))


_OF_ROW = {"prompt_name", "kind", "text", "vector"}
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
    if is_static(folder):
        texts = golden_texts(STATIC_LENGTH)
    else:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        texts = golden_texts(tokenizer.model_max_length, tuple(tokenizer.all_special_tokens))
    lacking = [text for text in texts if (text.prompt_name, text.text, text.kind) not in rows]
    if lacking:
        problems.append(
            f"{GOLDEN} lacks {len(lacking)} of {len(texts)} texts, such as {lacking[0].text[:40]!r} with the "
            f"prompt {lacking[0].prompt_name}: {_AS_BUILT}."
        )
    plain = golden.keys() == {"prompts", "dims", "rows"} and len(golden["rows"]) == len(texts)
    if not lacking and not (plain and all(row.keys() == _OF_ROW for row in golden["rows"])):
        problems.append(f"{GOLDEN} has other fields or more texts than it is written with: {_AS_BUILT}.")
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
