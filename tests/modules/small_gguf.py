"""Small GGUF files of the architecture, the tensor types and the kind of tokenizer of the real backbones."""

from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from transformers import Qwen2Tokenizer

HIDDEN, LAYERS, HEADS, KV_HEADS, FEED_FORWARD, ROWS = 256, 2, 4, 2, 512, 700
CONTEXT = 512
# Qwen2.5's added tokens in their order. In its own tokenizer the first 14 are special; llama.cpp's converter
# marks all but the two of tools as control.
SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
OTHERS = (
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>",
)  # fmt: skip
_TOOLS = ("<tool_call>", "</tool_call>")


def write_small_gguf(
    path: Path,
    tokenizer: Qwen2Tokenizer,
    *,
    architecture: str = "qwen2",
    head: bool = True,
    without: str = "",
    seed: int = 0,
) -> Path:
    """Write a decoder with random weights to `path`: Qwen2's tensors, or Gemma 3's.

    Arguments:
        tokenizer: its vocabulary and merges, to which Qwen2.5's added tokens are added; Gemma 3 has its own.
        architecture: what the file calls itself.
        head: whether there is an `output.weight`, which makes the head a matrix of its own.
        without: the name of a tensor that is left out.
        seed: of the weights.
    """
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("Small Qwen2 AWQ")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    if architecture == "gemma3":
        writer.add_key_length(HIDDEN // HEADS)
        writer.add_value_length(HIDDEN // HEADS)
        writer.add_sliding_window(64)
        _write_gemma_tokenizer(writer)
        head = False
    else:
        _write_tokenizer(writer, tokenizer)
    random = np.random.default_rng(seed)
    tensors = _tensors(head, gemma=architecture == "gemma3")
    for name, kind, shape in tensors:
        if name != without:
            blocks = _random_blocks(random, kind, shape)
            writer.add_tensor(name, blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_tokenizer(writer: gguf.GGUFWriter, tokenizer: Qwen2Tokenizer) -> None:
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    tokens = [token for token in vocabulary if not token.startswith("<|")] + [*SPECIAL, *OTHERS]
    kinds = [gguf.TokenType.NORMAL] * (len(tokens) - len(SPECIAL) - len(OTHERS))
    kinds += [
        gguf.TokenType.USER_DEFINED if token in _TOOLS else gguf.TokenType.CONTROL
        for token in (*SPECIAL, *OTHERS)
    ]
    fill = [f"[PAD{number}]" for number in range(len(tokens), ROWS)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens + fill)
    writer.add_token_types(kinds + [gguf.TokenType.UNUSED] * len(fill))
    writer.add_token_merges([" ".join(pair) for pair in merges_of(tokenizer)])
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_pad_token_id(tokens.index("<|endoftext|>"))
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template("{{ messages }}")


def _write_gemma_tokenizer(writer: gguf.GGUFWriter) -> None:
    """SentencePiece pieces: Gemma's named tokens, the bytes, and what a few words are merged from."""
    named = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
    units = [f"<0x{number:02X}>" for number in range(256)]
    pieces = [chr(number) for number in range(33, 127)] + ["\u2581", "\n", "  ", "    "]
    for word in ("\u2581def", "\u2581return", "\u2581self", "import", "\u2581the", "ing", "tion"):
        pieces += [word[:length] for length in range(2, len(word) + 1)]
    tokens = [*named, *units, *dict.fromkeys(pieces)]
    kinds = [gguf.TokenType.CONTROL] * len(named) + [gguf.TokenType.BYTE] * len(units)
    kinds += [gguf.TokenType.NORMAL] * (len(tokens) - len(kinds))
    fill = [f"<unused{number}>" for number in range(ROWS - len(tokens))]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens + fill)
    writer.add_token_scores([-float(number) for number in range(ROWS)])
    writer.add_token_types(kinds + [gguf.TokenType.NORMAL] * len(fill))
    for add, token in (
        (writer.add_bos_token_id, "<bos>"),
        (writer.add_eos_token_id, "<eos>"),
        (writer.add_unk_token_id, "<unk>"),
        (writer.add_pad_token_id, "<pad>"),
    ):
        add(named.index(token))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)


def merges_of(tokenizer: Qwen2Tokenizer) -> list[tuple[str, str]]:
    """The merges of a byte-level BPE."""
    import json

    return [tuple(pair) for pair in json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]]


def _tensors(head: bool, gemma: bool) -> list[tuple[str, Type, tuple[int, ...]]]:
    """Names, types and shapes (rows first) in the mixture of a Q4_K_M file."""
    kv = HIDDEN // HEADS * KV_HEADS
    norms = {"attn_norm.weight": HIDDEN, "ffn_norm.weight": HIDDEN}
    if gemma:
        norms |= {"attn_q_norm.weight": HIDDEN // HEADS, "attn_k_norm.weight": HIDDEN // HEADS}
        norms |= {"post_attention_norm.weight": HIDDEN, "post_ffw_norm.weight": HIDDEN}
    else:
        norms |= {"attn_q.bias": HIDDEN, "attn_k.bias": kv, "attn_v.bias": kv}
    found: list[tuple[str, Type, tuple[int, ...]]] = [("output.weight", Type.Q8_0, (ROWS, HIDDEN))] * head
    found.append(("token_embd.weight", Type.Q5_0, (ROWS, HIDDEN)))
    for layer in range(LAYERS):
        matrices: list[tuple[str, Type, tuple[int, ...]]] = [
            ("ffn_down.weight", Type.Q4_K if layer else Type.Q6_K, (HIDDEN, FEED_FORWARD)),
            ("ffn_gate.weight", Type.Q5_0, (FEED_FORWARD, HIDDEN)),
            ("ffn_up.weight", Type.Q5_0, (FEED_FORWARD, HIDDEN)),
            ("attn_k.weight", Type.Q5_0, (kv, HIDDEN)),
            ("attn_output.weight", Type.Q5_0, (HIDDEN, HIDDEN)),
            ("attn_q.weight", Type.Q5_0, (HIDDEN, HIDDEN)),
            ("attn_v.weight", Type.Q8_0, (kv, HIDDEN)),
        ]
        vectors = [(name, Type.F32, (length,)) for name, length in norms.items()]
        found += [(f"blk.{layer}.{name}", kind, shape) for name, kind, shape in [*matrices, *vectors]]
    return [*found, ("output_norm.weight", Type.F32, (HIDDEN,))]


def _random_blocks(random: np.random.Generator, kind: Type, shape: tuple[int, ...]) -> np.ndarray:
    """Values in float32, or blocks with random contents and a small scale, which decide the values."""
    if kind is Type.F32:
        around = 1.0 if len(shape) == 1 else 0.0
        return (around + 0.05 * random.standard_normal(shape)).astype(np.float32)
    if kind in (Type.Q5_0, Type.Q8_0):
        return gguf.quants.quantize(0.1 * random.standard_normal(shape).astype(np.float32), kind)
    # The package does not quantise to K types, so that any bytes will do. Where float16 scales are:
    scales = {Type.Q4_K: (0, 2), Type.Q6_K: (208,)}[kind]
    numbers, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (*shape[:-1], shape[-1] // numbers, size), dtype=np.uint8)
    for start in scales:
        blocks[..., start : start + 2] = np.frombuffer(np.float16(1e-4).tobytes(), dtype=np.uint8)
    return blocks.reshape(*shape[:-1], -1)
