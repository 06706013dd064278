"""Does `golden_vectors.json` ask all that `verify` is to ask? A shortened list of texts would prove less."""

import json
import math
from pathlib import Path
from typing import Any

from codequarry.release.golden import GOLDEN, golden_texts
from codequarry.release.json_values import is_number
from codequarry.release.run_folder import family_trained_with

_AS_BUILT = "it was edited, or another version of codequarry built the release (its card names it)"


def check_golden(folder: Path) -> list[str]:
    """One sentence for each thing that is not as `write_golden` writes it: texts, prompts, dims, vectors.

    Raises what transformers raises on a tokenizer that it cannot read.
    """
    from transformers import AutoTokenizer

    try:
        golden = json.loads((folder / GOLDEN).read_text(encoding="utf-8"))
        rows = {(row["prompt_name"], row["text"], row["kind"]): row["vector"] for row in golden["rows"]}
        dims, saved = golden["dims"], golden["prompts"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return [f"{GOLDEN} cannot be read ({type(error).__name__}: {error})."]
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    problems = []
    if dims != config["matryoshka_dimensions"]:
        problems.append(f"{GOLDEN} has dims {dims}, config.json {config['matryoshka_dimensions']}.")
    if saved != family_trained_with(training).prompts():
        problems.append(f"{GOLDEN} has other prompts than the tasks: {_AS_BUILT}.")
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    texts = golden_texts(tokenizer.model_max_length, tuple(tokenizer.all_special_tokens))
    lacking = [text for text in texts if (text.prompt_name, text.text, text.kind) not in rows]
    if lacking:
        problems.append(
            f"{GOLDEN} lacks {len(lacking)} of {len(texts)} texts, such as {lacking[0].text[:40]!r} with the "
            f"prompt {lacking[0].prompt_name}: {_AS_BUILT}."
        )
    size = config["matryoshka_dimensions"][0]
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
