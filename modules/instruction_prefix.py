"""Put the instruction prefix in front of a text, and refuse every input that would silently lose it.

Special-token strings inside a text are handled here too. Source code may contain `<|endoftext|>` or `[SEP]`
as plain characters (a tokenizer's own source does). Read as tokens they would be an end of sequence in the
middle of a text, so they are tokenised like any other characters: `split_special_tokens`, which is saved in
`tokenizer_config.json` and read by transformers. Added tokens that are not special (Qwen's `<tool_call>`,
fill-in-the-middle marks) keep their ids; they end nothing. A runtime that reads only `tokenizer.json` cannot
apply the setting; `codequarry release verify` names it.
"""

from collections.abc import Sequence
from typing import Any

from sentence_transformers.base.modules import Transformer
from torch import nn

from codequarry.common.errors import UserError
from codequarry.modules.text_checks import (
    check_room_for_text,
    empty_texts,
    refuse_empty,
    refuse_unreadable,
    token_ids,
)

# Text in, hidden states out, and no chat template, whatever the tokenizer brings: sentence-transformers
# would otherwise render every text through it and turn the prefix into a system message.
TEXT_ONLY: dict[str, Any] = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}


def refuse_other_containers(module: nn.Module, model: Any) -> None:
    """Raise UserError when `model` would save `module` under its own class name.

    A module of ours has this as its `on_model_ready`, which sentence-transformers calls once its model is
    complete.
    """
    if not getattr(model, "saves_stock_classes", False):
        raise UserError(
            f"{type(module).__name__} was put into a {type(model).__name__}, which would save the class name "
            "'codequarry…', so that the folder loads only with trust_remote_code. "
            "Use codequarry.modules.embedder.CodeEmbedder(modules=[...]) instead."
        )


class InstructionPrefix(Transformer):
    """`Transformer` that keeps prefix and end-of-sequence whole, or raises UserError.

        tokens = prefix + text[: max_seq_length - |prefix| - |special|] + end of sequence

    `preprocess` raises UserError for a task without its prefix, a prefix that leaves fewer than 16 tokens
    for the text, an empty text (see `empty_texts`), half a surrogate pair, an active chat template, a
    tokenizer that appends no end-of-sequence, and truncation on the left (which would cut the prefix first).
    The stock class accepts all but the surrogate in silence.

    Arguments are those of sentence-transformers' `Transformer`. Saved folders name that class, which gives
    the same tokens for every text this one accepts: see `CodeEmbedder`.

    >>> InstructionPrefix(path).preprocess(["def f(): ..."], prompt="query: ")
    """

    stock_class = Transformer
    on_model_ready = refuse_other_containers

    def preprocess(  # type: ignore[override]
        self, inputs: Sequence[str], prompt: str | None = None, task: str | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Token ids and mask of a batch of texts, each behind its prefix.

        Arguments:
            inputs: the texts.
            prompt: the prefix itself; None or "" for no prefix.
            task: passed with `prompt` by sentence-transformers. Refused alone: its prefix is a value of the
                model, which `CodeEmbedder.preprocess` passes.

        Returns `input_ids` and `attention_mask`, both `(batch, tokens)`.
        """
        if task is not None and prompt is None:
            raise UserError(
                f"task {task!r} came without its prefix, which the model has and this module has not: call "
                "preprocess of the model, or pass prompt= with the prefix."
            )
        own = self.check_prompt(prompt or "")
        refuse_unreadable(inputs)
        refuse_empty(inputs, [place for place, text in enumerate(inputs) if not text.strip()])
        features: dict[str, Any] = super().preprocess(inputs, prompt=prompt, **kwargs)
        refuse_empty(inputs, self._silent(inputs, prompt or "", own, features))
        return features

    def check_prompt(self, prompt: str) -> list[int]:
        """The token ids of `prompt` alone, special tokens included.

        Raises UserError as `preprocess` does for a tokenizer or a prefix under which a text would lose one.
        """
        self._check_tokenizer()
        own = token_ids(self.tokenizer, [prompt])[0]
        # max_seq_length is absent only from tokenizers without a limit: nothing is truncated there.
        check_room_for_text(prompt, len(own), self.max_seq_length)
        return own

    def _silent(
        self, inputs: Sequence[str], prompt: str, own: list[int], features: dict[str, Any]
    ) -> list[int]:
        """`empty_texts` out of the tokens that are there already; `own` are those of the prompt."""
        mask = features.get("attention_mask")
        if mask is None:  # one row of all texts, as FlashAttention takes them
            return empty_texts(self, inputs, prompt)
        few = (mask.sum(dim=1) == len(own)).nonzero().flatten().tolist()
        return [row for row in few if features["input_ids"][row][mask[row].bool()].tolist() == own]

    def _check_tokenizer(self) -> None:
        if "message" in self.modality_config:
            raise UserError(
                "a chat template is active: every text would be rendered as a conversation. Build the model "
                "with codequarry.modules.build.build_model, or drop the tokenizer's chat_template."
            )
        tokenizer: Any = self.tokenizer
        if tokenizer.truncation_side != "right":
            raise UserError(
                f"truncation_side is {tokenizer.truncation_side!r}: a long text would lose its prefix. "
                "Set tokenizer.truncation_side = 'right'."
            )
        last = tokenizer("x")["input_ids"][-1]
        ends = {tokenizer.eos_token_id, tokenizer.sep_token_id} - {None}
        if last not in ends:
            raise UserError(
                f"the tokenizer appends no end-of-sequence: 'x' ends with id {last}, not with one of "
                f"{sorted(ends)}. Load it with add_eos_token=True, or build the model with build_model."
            )
