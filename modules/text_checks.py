"""Which texts a model cannot embed: those that are none, and those that are empty once they are tokenised."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from codequarry.common.errors import UserError

_SURELY_A_TOKEN = re.compile(r"[0-9A-Za-z]")  # no tokenizer drops these: most texts need no second look
MIN_TEXT_TOKENS = 16
_FIRST = 20  # characters; only a text of which these give no token is read to its end


def empty_texts(model: Any, texts: Sequence[str], prompt: str = "") -> list[int]:
    """The positions, from 0, of the texts that give `model` no token behind `prompt`.

    The vector of such a text is the prompt's own. Which texts those are is a matter of the tokenizer: BERT's
    drops NUL, byte order marks, zero-width characters and lone accents; byte-level BPE keeps them. Blank
    texts count as well, whatever a tokenizer makes of their spaces.

    Arguments: `model` has a `tokenizer`, as every `SentenceTransformer` and `InstructionPrefix`; without one
    only blank texts are found. Raises UserError as `refuse_unreadable` does.

    >>> empty_texts(codequarry.load("mini"), ["x = 1", "", "\\x00", "\\u200b"])
    [1, 2, 3]
    """
    refuse_unreadable(texts)
    unsure = [place for place, text in enumerate(texts) if not _SURELY_A_TOKEN.search(text)]
    visible = [place for place in unsure if texts[place].strip()]
    empty = set(unsure) - set(visible)
    tokenizer = getattr(model, "tokenizer", None)
    if callable(tokenizer) and visible:
        nothing, *begin = token_ids(tokenizer, ["", *(texts[place][:_FIRST] for place in visible)])
        doubtful = [place for place, ids in zip(visible, begin, strict=True) if ids == nothing]
        if doubtful:
            own, *whole = token_ids(tokenizer, [prompt, *(prompt + texts[place] for place in doubtful)])
            empty |= {place for place, ids in zip(doubtful, whole, strict=True) if ids == own}
    return sorted(empty)


def token_ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """The ids of each text at its full length, special tokens included."""
    rows: list[list[int]] = tokenizer(texts, truncation=False, verbose=False)["input_ids"]
    return rows


def check_room_for_text(prompt: str, taken: int, max_seq_length: int | None) -> None:
    """Raise UserError where `prompt` leaves fewer than 16 tokens for a text.

    Arguments: `taken`, tokens of the prompt, special ones included; `max_seq_length`, None for no limit.
    """
    if not prompt or max_seq_length is None:
        return
    room = max_seq_length - taken
    if room < MIN_TEXT_TOKENS:
        raise UserError(
            f"the prefix {prompt!r} and the special tokens take {taken} of max_seq_length "
            f"{max_seq_length} tokens and leave {max(room, 0)} for the text; at least "
            f"{MIN_TEXT_TOKENS} are needed. Raise max_seq_length to {taken + MIN_TEXT_TOKENS} or more."
        )


def refuse_empty(texts: Sequence[str], empty: Sequence[int], remedy: str = "Leave it out.") -> None:
    """Raise UserError for the first text of `empty`, positions from 0 as `empty_texts` gives them."""
    if empty:
        text, more = texts[empty[0]], len(empty) - 1
        silent = f" ({text[:12]!a} gives this model no token)"
        shown = silent if text.strip() else ", as an __init__.py often is"
        raise UserError(
            f"text {empty[0] + 1} of {len(texts)} is empty{shown}{f', and {more} more' if more else ''}: its "
            f"vector would be the prompt's own, like that of every other empty text. {remedy}"
        )


def refuse_unreadable(texts: Sequence[Any]) -> None:
    """Raise UserError for what is no text: another type, or a string with half a surrogate pair."""
    for position, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise UserError(
                f"text {position} of {len(texts)} is {type(text).__name__}, not a string: this model embeds "
                "text only."
            )
        if text.isascii():
            continue
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"text {position} of {len(texts)} has half a surrogate pair at character {error.start + 1}, "
                "which no tokenizer takes: it comes from bytes that are not UTF-8, or from one half of an "
                "emoji. Decode it with errors='replace'."
            ) from error


def check_query(text: str, is_empty: Callable[[], bool]) -> None:
    """Raise UserError for a query that is not UTF-8, or of which `is_empty` finds that it gives no token."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"the query is not UTF-8 at character {error.start + 1} ({text[error.start]!a}): convert it, "
            "such as with iconv -f latin1 -t utf-8."
        ) from error
    if is_empty():
        raise UserError(
            f"the query {text[:12]!a} gives this model no token: say in words, or in code, what you are "
            "looking for."
        )
