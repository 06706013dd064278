"""Build an embedding model from a backbone: tokenizer set right, pooling, unit length, prompts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from tokenizers import processors
from transformers import PreTrainedTokenizerBase

from codequarry.modules.backbone import resolve_backbone
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.instruction_prefix import TEXT_ONLY, InstructionPrefix
from codequarry.modules.last_token_pooling import LastTokenPooling
from codequarry.modules.latent_attention_pooling import LatentAttentionPooling
from codequarry.modules.tasks import DEFAULT_FAMILY, PromptFamily, get_family

PoolingName = Literal["lasttoken", "mean", "latentattention"]

# Tokens that families reserve for padding or that never occur in text, best first. Qwen2.5 pads with its
# end-of-sequence, Llama with nothing.
_PAD_CANDIDATES = ("<|fim_pad|>", "<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<|pad|>", "<unk>")


def build_model(
    backbone: str,
    *,
    pooling: PoolingName = "lasttoken",
    max_length: int | None = None,
    dims: Sequence[int] = (),
    prompts: str | PromptFamily = DEFAULT_FAMILY,
    dtype: str = "float32",
    revision: str | None = None,
    lock: Path | None = None,
    device: str | None = None,
) -> CodeEmbedder:
    """An untrained `CodeEmbedder` on any decoder or encoder that transformers loads.

    Arguments:
        backbone, revision, lock: see `resolve_backbone`.
        pooling: `lasttoken` for decoders (Qwen2, Qwen3, Gemma, Llama), `mean` for encoders such as BERT,
            `latentattention` for comparisons: it has weights of its own, and no release can hold it.
        max_length: tokens, special tokens and prefix included; None keeps the tokenizer's own limit.
        dims: Matryoshka dimensions the model is going to be trained for, largest first; () for none.
        prompts: the prompt family, or the name of a registered one.
        dtype: of the weights in memory: `float32`, `bfloat16` or `auto` (as stored).
        device: as in `SentenceTransformer`; None picks the fastest there is.

    Raises ValueError when the backbone cannot be found, `dims` does not start at the hidden size, or no
    family is called `prompts`.

    >>> build_model("Qwen/Qwen2.5-Coder-0.5B", max_length=512, dims=(896, 512, 256, 128, 64))
    """
    family = get_family(prompts) if isinstance(prompts, str) else prompts
    folder = resolve_backbone(backbone, revision=revision, lock=lock)
    transformer = InstructionPrefix(
        str(folder),
        max_seq_length=max_length if max_length is not None else _own_limit(folder),
        modality_config=TEXT_ONLY,
        module_output_name="token_embeddings",
        model_kwargs={"dtype": dtype},
        processor_kwargs={
            "split_special_tokens": True,
            "padding_side": "right",
            "truncation_side": "right",
        },
    )
    _set_tokenizer(transformer.tokenizer)
    hidden = transformer.get_embedding_dimension()
    config = transformer.model.config
    config.pad_token_id = transformer.tokenizer.pad_token_id
    if dims:
        if list(dims) != sorted(set(dims), reverse=True) or dims[0] != hidden:
            raise ValueError(
                f"matryoshka dims {tuple(dims)} must fall from the hidden size {hidden}: "
                f"write {hidden} first and each dimension once, e.g. [{hidden}, {hidden // 2}]."
            )
        config.matryoshka_dimensions = list(dims)
    return CodeEmbedder(
        modules=[transformer, _pooling(pooling, hidden), Normalize()],
        prompts=family.prompts(),
        similarity_fn_name="cosine",
        device=device,
    )


def _pooling(name: PoolingName, hidden: int) -> Pooling | LatentAttentionPooling:
    if name == "lasttoken":
        return LastTokenPooling(hidden)
    return LatentAttentionPooling(hidden) if name == "latentattention" else Pooling(hidden, name)


def _own_limit(folder: Path) -> int | None:
    """The length a sentence-transformers folder was trained at, often less than its tokenizer allows."""
    limit: int | None = InstructionPrefix.load_config(str(folder)).get("max_seq_length")
    return limit


def _set_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    """No chat template, an end-of-sequence after every text, and a pad token that is not that one."""
    tokenizer.chat_template = None
    if tokenizer.eos_token_id is not None and tokenizer.sep_token_id is None:
        _append_end_of_sequence(tokenizer)
        if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
            vocabulary = tokenizer.get_vocab()
            # Where a family has no candidate, CodeEmbedder still keeps the shared row's gradient.
            tokenizer.pad_token = next(
                (token for token in _PAD_CANDIDATES if token in vocabulary), tokenizer.eos_token
            )


def _append_end_of_sequence(tokenizer: Any) -> None:
    # Not by `add_eos_token=True`: transformers then builds the post-processor anew and drops the start token
    # of a tokenizer that brings its own. One template with both is what every runtime reads.
    ids = tokenizer("x")["input_ids"]
    if ids[-1] == tokenizer.eos_token_id:
        return
    text = tokenizer("x", add_special_tokens=False)["input_ids"]
    start = tokenizer.convert_ids_to_tokens(ids[: len(ids) - len(text)])
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=[*start, "$A", tokenizer.eos_token],
        special_tokens=[
            (token, tokenizer.convert_tokens_to_ids(token)) for token in {*start, tokenizer.eos_token}
        ],
    )
