"""Token ids in place of text, as OpenAI's API takes them: only those of the served model's own tokenizer.

Clients made for OpenAI send the ids of OpenAI's tokenizer (LangChain's `OpenAIEmbeddings` does so by
default). Read as ours they are other words, and no error would say so. So ids have to be what our tokenizer
gives for the text that they spell. Tried with the ids that Qwen2.5's tokenizer, of OpenAI's family, gives
for functions and docstrings of the standard library: mini's refused all 1,918 longer ones, but took 52 of
2,402 docstring lines and 9 of 20 queries of two or three words. Short lists therefore need the special tokens
around them, which only our tokenizer puts there.
"""

import copy
import threading
from collections.abc import Sequence
from typing import Any

from codequarry.integrations.serve.requests import RequestError

TELLING = (
    8  # tokens without special ones around them, from which on another tokenizer's are not taken for ours
)


class TokenIds:
    """Reads lists of token ids as texts.

    tokenizer: of the model; a copy is used, because a tokenizer that two threads call at once fails.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = copy.deepcopy(tokenizer)
        self._lock = threading.Lock()
        marked, bare = self._ids("a", special=True), self._ids("a", special=False)
        start = next(place for place in range(len(marked)) if marked[place : place + len(bare)] == bare)
        self._head, self._tail = marked[:start], marked[start + len(bare) :]
        unknown = tokenizer.unk_token_id
        self._special = {int(one) for one in tokenizer.all_special_ids if one != unknown}

    def text(self, ids: Sequence[int], which: str, field: str) -> str:
        """The text that `ids` spell; `which` begins the sentences of errors.

        Raises RequestError, 422, for ids that the tokenizer does not have or would not give for a text.
        """

        def refused(sentence: str) -> RequestError:
            return RequestError(
                422,
                f"{which} {sentence} Send text; or the ids that this model's tokenizer gives, special tokens "
                "included. (LangChain's OpenAIEmbeddings sends another tokenizer's unless "
                "check_embedding_ctx_length=False.)",
                field=field,
            )

        with self._lock:
            count = len(self._tokenizer)
            for position, one in enumerate(ids, 1):
                if not 0 <= one < count:
                    shown = one if abs(one) < 10**12 else "a huge number"
                    raise refused(
                        f"has the token id {shown} at position {position}; this model's tokenizer has ids "
                        f"from 0 to {count - 1}."
                    )
            inner, marked = self._without_special(list(ids))
            if any(one in self._special for one in inner):
                raise refused("has a special token in its middle, or padding.")
            spelt = self._tokenizer.decode(
                inner, skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
            if inner and (not isinstance(spelt, str) or self._ids(spelt, special=False) != inner):
                raise refused("has token ids that this model's tokenizer does not give for any text.")
            if not marked and 0 < len(inner) < TELLING:
                raise refused(
                    f"has {len(inner)} token ids without special tokens around them: too few to tell whether "
                    "another tokenizer made them."
                )
        return str(spelt) if inner else ""

    def _without_special(self, ids: list[int]) -> tuple[list[int], bool]:
        head, tail = self._head, self._tail
        end = len(ids) - len(tail)
        if (head or tail) and end >= len(head) and ids[: len(head)] == head and ids[end:] == tail:
            return ids[len(head) : end], True
        return ids, False

    def _ids(self, text: str, *, special: bool) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=special, truncation=False, verbose=False)[
            "input_ids"
        ]
        return ids
