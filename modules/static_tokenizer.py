"""The tokenizer of a static model: all that is done to a text is in its `tokenizer.json`.

    text → without the model's own prompt → identifiers split at case and underscore → lower case
         → words, digits by three, runs of signs; white space is dropped → byte-level BPE

So every reader of that file (tokenizers, sentence-transformers, model2vec) gets the same ids.
"""

import re
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from codequarry.modules.tasks import PromptFamily

# parseHTTPRequest_v2 → parse HTTP Request v2. ASCII alone: look-around over Unicode's classes takes thrice as
# long, and identifiers of other letters are rare.
_SPLITS = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+"

# The first alternative is the second for ASCII, possessive, and saves an eighth of the whole time.
_WORDS = r"[a-z]++(?!\p{L})|\p{L}+|[0-9]{1,3}|\p{N}+|[^\s\p{L}\p{N}]+"

_LONGEST = 3000  # characters of a text that are read in training; a long file would weigh as many


def train_static_tokenizer(texts: Iterable[str], vocabulary: int, family: PromptFamily) -> Tokenizer:
    r"""A tokenizer of at most `vocabulary` tokens, trained on `texts`.

    It has no special tokens, no unknown token (all bytes are in its alphabet) and no limit of length, and
    takes one prompt of `family` off the beginning of a text: a mean of rows has no use for words that every
    text begins with.

    >>> train_static_tokenizer(texts, 28_000, CODE).encode(f"{CODE.prefix('qa', 'document')}parseDate").tokens
    ['parse', 'date']
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(_prompts_pattern(family)), ""),
            normalizers.NFC(),
            normalizers.Replace(Regex(_SPLITS), " "),
            normalizers.Lowercase(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text[:_LONGEST] for text in texts), trainer)
    return tokenizer


def _prompts_pattern(family: PromptFamily) -> str:
    """A regular expression for a prompt at the beginning of a text, the longest first."""
    prompts = sorted(
        {prompt for prompt in family.prompts().values() if prompt}, key=lambda one: (-len(one), one)
    )
    # Oniguruma's syntax is not Python's in every escape: of a letter, a space and a line feed it has none.
    escaped = [
        "".join(one if one.isalnum() or one in " \n" else re.escape(one) for one in prompt)
        for prompt in prompts
    ]
    return rf"\A(?:{'|'.join(escaped)})" if escaped else r"\A(?!)"
