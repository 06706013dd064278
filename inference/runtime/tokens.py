"""A model folder's tokenizer without transformers: the same ids, or Unsupported."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

from codequarry.inference.runtime.engine import Unsupported

# transformers (read in 5.23) gives this pre-tokenizer to the tokenizer of every Qwen2 model.
QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


class FolderTokenizer:
    """The tokenizer of a model folder, called as `empty_texts` and `Encoder` call one of transformers'.

    Arguments:
        folder: of the model.
        settings: its `tokenizer_config.json`.
        max_length: tokens of a text at most, special ones included.

    Raises Unsupported for a tokenizer that transformers would build in another way than the file says.

    >>> FolderTokenizer(folder, settings, 256).ids(["x = 1"])
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], max_length: int) -> None:
        self.max_length = max_length
        self.split_special_tokens = bool(settings.get("split_special_tokens", False))
        self._whole = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._whole.no_truncation()
        self._whole.no_padding()
        self._whole.encode_special_tokens = self.split_special_tokens
        self.text: str = self._whole.to_str()
        _check(json.loads(self.text), settings)
        self._cut = Tokenizer.from_str(self.text)
        self._cut.encode_special_tokens = self.split_special_tokens
        self._cut.enable_truncation(max_length)

    def __call__(
        self, texts: list[str], *, truncation: bool = False, verbose: bool = False
    ) -> dict[str, list[list[int]]]:
        """`input_ids` of each text, at its full length unless `truncation`."""
        return {"input_ids": self.ids(texts, cut=truncation)}

    def ids(self, texts: list[str], *, cut: bool = True) -> list[list[int]]:
        """The ids of each text, special ones included; with `cut`, at most `max_length`."""
        tokenizer = self._cut if cut else self._whole
        return [one.ids for one in tokenizer.encode_batch_fast(texts)]


def _check(state: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    kind = str(settings.get("tokenizer_class")).removesuffix("Fast")
    if kind not in ("BertTokenizer", "Qwen2Tokenizer"):
        raise Unsupported(f"its tokenizer is a {kind}")
    if settings.get("truncation_side", "right") != "right":
        raise Unsupported("its tokenizer cuts on the left")
    if settings.get("chat_template"):
        raise Unsupported("its tokenizer has a chat template")
    if kind == "BertTokenizer":
        normalizer: Any = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
            strip_accents=settings.get("strip_accents"),
            lowercase=settings.get("do_lower_case", False),
        )
        words: Any = pre_tokenizers.BertPreTokenizer()
    else:
        normalizer = normalizers.NFC()
        parts = [
            pre_tokenizers.Split(Regex(QWEN2_WORDS), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(
                add_prefix_space=settings.get("add_prefix_space") or False, use_regex=False
            ),
        ]
        words = pre_tokenizers.Sequence(parts)
    model = Tokenizer.from_str('{"model": {"type": "BPE", "vocab": {}, "merges": []}}')
    model.normalizer, model.pre_tokenizer = normalizer, words
    expected = json.loads(model.to_str())
    for part in ("normalizer", "pre_tokenizer"):
        if state[part] != expected[part]:
            raise Unsupported(f"its {part} is not that of {kind} in transformers")
    known = {token["content"] for token in state["added_tokens"]}
    for token in _added(settings):
        if token not in known:
            raise Unsupported(f"its settings add the token {token!r}, which tokenizer.json does not have")


def _added(settings: Mapping[str, Any]) -> list[str]:
    """The tokens that a `tokenizer_config.json` names."""
    found: list[Any] = [value for name, value in settings.items() if name.endswith("_token")]
    extra = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or []
    found += list(extra.values()) if isinstance(extra, dict) else list(extra)
    decoder = settings.get("added_tokens_decoder")
    found += list(decoder.values()) if isinstance(decoder, dict) else []
    contents = [token.get("content") if isinstance(token, dict) else token for token in found]
    return [token for token in contents if isinstance(token, str) and token]
