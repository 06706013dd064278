"""Which prompt stands in front of which text: the one that is named, or the one that the text begins with."""

import re
from collections.abc import Mapping, Sequence

from codequarry.integrations.serve.requests import Prompted, RequestContext, RequestError

_BLANK = re.compile(r"\r\n|\s")


def with_prompts(
    texts: Sequence[str],
    name: str | None,
    raw: bool | None,
    context: RequestContext,
    *,
    field: str,
    how: str,
) -> tuple[tuple[Prompted, ...], int]:
    """Each text with its prompt, and how many had it already.

    A text that begins with a prompt of this model gets no second one: clients of servers without prompts by
    name put it there themselves. A prompt in front that is not the named one is refused, because one of the
    two is a mistake.

    Arguments:
        name: of the request's prompt; None where it names none, "" where it says that texts have theirs.
        raw: True embeds the texts as they are; False puts the prompt in front of every one, also of those
            that begin with one; None looks.
        field: that holds the texts. how: says where clients of this schema name a prompt.

    Raises RequestError, 422, for a text that has no prompt and gets none, and for two prompts.
    """
    if name:
        context.refuse_unknown(name)
    if raw:
        if name:
            raise RequestError(
                422, f"raw is true, so no prompt is put in front, and {name} is named: drop one.", field="raw"
            )
        return tuple(Prompted("", text) for text in texts), 0
    prompts = context.served.prompts
    standard = name if name is not None else context.default_prompt
    placed, as_sent = [], 0
    for position, text in enumerate(texts, 1):
        found = None if raw is False else split_prompt(text, prompts, first=name or None)
        if found is None:
            if not standard:
                raise RequestError(422, _no_prompt(name, prompts, how))
            placed.append(Prompted(prompts[standard], text))
            continue
        if name and found.prompt != prompts[name]:
            other = next(known for known, prompt in prompts.items() if prompt == found.prompt)
            raise RequestError(
                422,
                f"text {position} of {len(texts)} begins with the prompt {other}, and the request names "
                f"{name}: drop one. If that beginning is not meant as a prompt, pass raw: false, and {name} "
                "is put in front of it.",
                field=field,
            )
        placed.append(found)
        as_sent += 1
    return tuple(placed), as_sent


def split_prompt(text: str, prompts: Mapping[str, str], first: str | None = None) -> Prompted | None:
    """The prompt that `text` begins with and the rest of it; None where it begins with none.

    A prompt that ends in a blank is found with any other blank there as well, because some clients replace
    line ends by spaces. first: the name of the prompt that is tried before the others, the longest first.

    >>> split_prompt("Answer: yes", {"qa_document": "Answer:\\n"})
    Prompted(prompt='Answer:\\n', text='yes')
    """
    tried = sorted(set(prompts.values()), key=len, reverse=True)
    for prompt in [prompts[first], *tried] if first else tried:
        if not prompt.strip():
            continue
        if text.startswith(prompt):
            return Prompted(prompt, text[len(prompt) :])
        stem = prompt.rstrip()
        blank = _BLANK.match(text, len(stem)) if stem != prompt and text.startswith(stem) else None
        if blank or (stem != prompt and text == stem):
            return Prompted(prompt, text[blank.end() :] if blank else "")
    return None


def _no_prompt(name: str | None, prompts: Mapping[str, str], how: str) -> str:
    said = "no prompt was named" if name is None else "prompt_name is empty and a text begins with no prompt"
    return (
        f"{said}, and this model embeds a text behind the prompt of its task and side: {how} raw: true "
        f"embeds texts as they are. The prompts are {', '.join(prompts)}."
    )
