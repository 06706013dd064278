"""How a Hugging Face Inference Endpoint answers with this model: the Hub's custom handler.

    {"inputs": ["parse a date"], "parameters": {"task": "nl2code", "side": "query", "dims": 128}}
    → [[0.0541, …]], one vector a text

`codequarry release build` copies this file into a release as it is. It needs sentence-transformers (3.4.1 or
newer) and nothing of codequarry. What is wrong with a request is raised as a ValueError: the Hub's inference
toolkit answers status 400 with the sentence, while a returned `{"error": …}` would go out as status 200.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

MAX_TEXTS = 256  # a request
MAX_CHARACTERS = 100_000  # a text
SIDES = ("query", "document")
# huggingface_hub's InferenceClient.feature_extraction has these spellings, and sends them beside `inputs`.
OTHER_SPELLINGS = {"dimensions": "dims", "normalize": "normalise"}
PARAMETERS = ("task", "side", "prompt_name", "dims", "normalise", "truncate")


class EndpointHandler:
    """The class that the Hub's toolkit looks for: made once with the model's folder, called for each request.

    Parameters of a request:
        task, side: which of the model's prompts goes in front of every text, such as nl2code and query.
        prompt_name: both in one word, such as nl2code_query; instead of the two.
        dims: numbers a vector, one of the trained dimensions; null or absent for all.
        normalise: bring every vector to length 1 after the cut to `dims`; true when absent.
        truncate: cut a text that is too long; true when absent. With false it is refused, with its length.

    Raises ValueError, in `__call__`, with a sentence for whoever sent the request.
    """

    def __init__(self, path: str = "") -> None:
        config = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
        self.dims: tuple[int, ...] = tuple(config.get("matryoshka_dimensions") or [config["hidden_size"]])
        self.model = SentenceTransformer(path, local_files_only=True)
        # By side: ["nl2code", …]. Plain `query` and `document` stand for one of these.
        self.tasks = [
            name.removesuffix("_query") for name in self.model.prompts or {} if name.endswith("_query")
        ]
        if not self.tasks:
            raise ValueError(
                f"{path} carries no prompts named <task>_query: this handler is for models that do."
            )

    def __call__(self, data: dict[str, Any]) -> list[list[float]]:
        """One vector a text, as lists of floats, also where `inputs` is a single string."""
        parameters = self._parameters(data)
        texts = _texts(data.get("inputs"))
        prompt = str(self.model.prompts[self._prompt_name(parameters)])
        self._refuse_empty(texts, prompt)
        dims = self._dims(parameters.get("dims"))
        normalise, truncate = (_flag(parameters, name) for name in ("normalise", "truncate"))
        if not truncate:
            self._refuse_too_long([prompt + text for text in texts])
        vectors = self.model.encode(texts, prompt=prompt, show_progress_bar=False, convert_to_numpy=True)
        cut = np.asarray(vectors, dtype=np.float32)[:, :dims]
        if normalise:
            cut = cut / np.linalg.norm(cut, axis=1, keepdims=True)
        rows: list[list[float]] = cut.tolist()
        return rows

    def _parameters(self, data: dict[str, Any]) -> dict[str, Any]:
        inner = data.get("parameters") or {}
        if not isinstance(inner, dict):
            raise ValueError(
                f"parameters is {_kind(inner)}; it has to be an object, such as {{'task': 'qa'}}."
            )
        beside = {name: value for name, value in data.items() if name not in ("inputs", "parameters")}
        given: dict[str, Any] = {}
        for name, value in [*beside.items(), *inner.items()]:
            own = OTHER_SPELLINGS.get(name, name)
            if own not in PARAMETERS:
                raise ValueError(f"{name!r} is not a parameter. There are: {', '.join(PARAMETERS)}.")
            if own in given:
                raise ValueError(f"{own} was given twice: pass it once.")
            if value is not None:
                given[own] = value
        return given

    def _prompt_name(self, parameters: dict[str, Any]) -> str:
        task, side, name = (parameters.get(key) for key in ("task", "side", "prompt_name"))
        if name is not None:
            if task is not None or side is not None:
                raise ValueError("prompt_name says task and side in one word: pass it, or the two, not both.")
            if not isinstance(name, str) or name not in self.model.prompts:
                raise ValueError(
                    f"prompt_name {name!r} is none of this model's: {', '.join(self.model.prompts)}."
                )
            return name
        if task is None or side is None:
            missing = " and ".join(key for key in ("task", "side") if parameters.get(key) is None)
            raise ValueError(
                f"parameters lack {missing}. A text is embedded behind the prompt of its task and side, and "
                f"the two sides of a search have different ones. task is one of {', '.join(self.tasks)}; "
                "side is query (what is searched with) or document (what is searched for)."
            )
        if task not in self.tasks:
            raise ValueError(f"{task!r} is not a task. The tasks are {', '.join(self.tasks)}.")
        if side not in SIDES:
            raise ValueError(f"{side!r} is not a side of a task: pass query or document.")
        return f"{task}_{side}"

    def _dims(self, dims: Any) -> int:
        if dims is None:
            return self.dims[0]
        if isinstance(dims, bool) or dims not in self.dims:
            raise ValueError(
                f"dims {dims!r} is not among the trained dimensions {', '.join(map(str, self.dims))}: "
                "pass one of these."
            )
        return int(dims)

    def _refuse_empty(self, texts: list[str], prompt: str) -> None:
        # BERT's tokenizer drops NUL, byte order marks, zero-width characters and lone accents. None drops a
        # letter or digit of ASCII, so most texts need not be tokenised here.
        doubtful = [place for place, text in enumerate(texts) if not re.search("[0-9A-Za-z]", text)]
        if not doubtful:
            return
        own, *rows = self._ids([prompt, *(prompt + texts[place] for place in doubtful)])
        for place, ids in zip(doubtful, rows, strict=True):
            if ids == own:
                raise ValueError(
                    f"text {place + 1} of {len(texts)} is empty: {texts[place][:12]!a} gives this model no "
                    "token, and its vector would be the prompt's own. Leave it out."
                )

    def _ids(self, texts: list[str]) -> list[list[int]]:
        tokenizer: Any = self.model.tokenizer
        if callable(tokenizer):
            rows: list[list[int]] = tokenizer(texts, truncation=False, verbose=False)["input_ids"]
            return rows
        return [
            one.ids for one in tokenizer.encode_batch(texts, add_special_tokens=False)
        ]  # a static model's

    def _refuse_too_long(self, texts: list[str]) -> None:
        limit = self.model.max_seq_length or math.inf
        lengths = [len(ids) for ids in self._ids(texts)]
        for position, length in enumerate(lengths, start=1):
            if length > limit:
                raise ValueError(
                    f"text {position} of {len(texts)} has {length} tokens with its prompt; this model reads "
                    f"{limit}. Shorten it, or pass truncate: true."
                )


def _texts(inputs: Any) -> list[str]:
    texts = [inputs] if isinstance(inputs, str) else inputs
    if not isinstance(texts, list):
        raise ValueError(f"inputs is {_kind(inputs)}; it has to be a text or a list of texts.")
    if not 1 <= len(texts) <= MAX_TEXTS:
        raise ValueError(f"inputs holds {len(texts)} texts; a request takes 1 to {MAX_TEXTS}.")
    for position, text in enumerate(texts, start=1):
        which = f"text {position} of {len(texts)}"
        if not isinstance(text, str):
            raise ValueError(f"{which} is {_kind(text)}, not a text.")
        if not text.strip():
            raise ValueError(f"{which} is empty: its vector would be the prompt's own. Leave it out.")
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"{which} has {len(text)} characters; at most {MAX_CHARACTERS} are taken.")
    return [_whole(text) for text in texts]


def _whole(text: str) -> str:
    # JSON may spell half a surrogate pair ("\ud83d"), which no tokenizer takes.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _flag(parameters: dict[str, Any], name: str) -> bool:
    value = parameters.get(name, True)
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}: pass true or false.")
    return value


def _kind(value: Any) -> str:
    return "null" if value is None else f"of type {type(value).__name__}"
