"""A release's decoder as GGUF files, in a folder of their own: what llama.cpp and what is built on it read.

A file holds everything its use depends on: pooling, end-of-sequence, limit, dimensions and the prompts.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from codequarry.common.errors import UserError
from codequarry.common.files import in_one_step, read_json, write_text
from codequarry.model_card.render import render_gguf_card
from codequarry.modules.attention import Attention
from codequarry.modules.golden_vectors import GOLDEN
from codequarry.release.manifest import MANIFEST, write_manifest
from codequarry.release.module_list import saved_modules
from codequarry.release.trained_run import RunFolder, family_trained_with

GgufType = Literal["f16", "q8_0", "q4_k_m"]

# By the names that llama.cpp gives them in `llama_ftype`.
_QUANTIZED: dict[GgufType, str] = {"q8_0": "LLAMA_FTYPE_MOSTLY_Q8_0", "q4_k_m": "LLAMA_FTYPE_MOSTLY_Q4_K_M"}

TYPES: tuple[GgufType, ...] = ("f16", *_QUANTIZED)
PROMPT_KEY = "codequarry.prompts.{}"
DIMS_KEY = "codequarry.matryoshka_dimensions"
_COPIED = ("LICENSE", "training.json", GOLDEN)
_LARGEST_HALF = 65_504  # of float16


def export_gguf(
    release: Path,
    out: Path,
    types: Sequence[GgufType] = TYPES,
    *,
    replace: bool = False,
    progress: bool = False,
) -> Path:
    """Write the folder `out` with a GGUF file for each of `types`, of the release in the folder `release`.

    `f16` holds the matrices in float16. llama.cpp makes `q8_0` and `q4_k_m` from it, and keeps more bits of
    matrices whose rows do not divide into its blocks of 256. The folder also holds the golden vectors, a card
    and a manifest, so that `verify` and `publish` take it as they take a release.

    replace: replace an older GGUF folder in `out`, in one step at the end.
    progress: a bar per file on stderr, where it takes more than two seconds.

    Raises UserError for an unknown type, a missing package, an `out` that exists, a model that is no causal
    Qwen2 decoder or has Dense layers, a tokenizer that llama.cpp does not have, and weights that float16
    cannot hold.

    >>> export_gguf(Path("releases/nano"), Path("releases/nano-GGUF"))
    PosixPath('releases/nano-GGUF')
    """
    refuse_missing_gguf(types)
    out = Path(out).resolve()
    run, prompts = RunFolder(release), read_json(release / "config_sentence_transformers.json")["prompts"]
    with in_one_step(out, replace=replace, mark=MANIFEST) as building:
        half = building / f"{release.name}-f16.gguf"
        _write_half(run, prompts, half, progress=progress)
        for name in types:
            if name != "f16":
                _quantize(half, building / f"{release.name}-{name}.gguf", name, progress=progress)
        if "f16" not in types:
            half.unlink()
        for file in _COPIED:
            shutil.copyfile(release / file, building / file)
        card = render_gguf_card(
            release.name,
            limit=run.max_length or 0,
            dims=run.dims,
            prompts=prompts,
            sizes={path.name: path.stat().st_size for path in sorted(building.glob("*.gguf"))},
        )
        write_text(building / "README.md", card)
        write_manifest(building)
    return out


def refuse_missing_gguf(types: Sequence[GgufType]) -> None:
    """Raise UserError when `types` cannot be written here, before any time is spent."""
    if unknown := [name for name in types if name not in TYPES]:
        raise UserError(f"GGUF type {unknown[0]!r} is not one that is written: pass {', '.join(TYPES)}.")
    needed = ["gguf", *(["llama_cpp"] if set(types) - {"f16"} else [])]
    if types and (missing := [name for name in needed if find_spec(name) is None]):
        raise UserError(f"GGUF export needs {', '.join(missing)}: pip install 'codequarry[gguf]'")


def refuse_unwritable(folder: Path) -> None:
    """Raise UserError when the model in `folder` is no causal Qwen2 decoder or has Dense layers."""
    config = read_json(folder / "config.json")
    if config["model_type"] != "qwen2":
        reason = f"is a {config['model_type']} model; GGUF is written of Qwen2 decoders only"
    elif not Attention.of(config).causal:
        reason = "attends both ways (is_causal is false); GGUF is written of causal decoders only"
    elif (folder / "modules.json").is_file() and any(name == "Dense" for name, _ in saved_modules(folder)):
        reason = (
            "has Dense layers after the pooling, for which a GGUF file has no place: llama.cpp would give "
            "other vectors"
        )
    else:
        return
    raise UserError(f"{folder} {reason}. Leave --gguf out; ONNX (--onnx) is there for every model.")


def _write_half(run: RunFolder, prompts: Mapping[str, str], path: Path, *, progress: bool) -> None:
    import gguf

    refuse_unwritable(run.folder)
    config = run.config
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.QWEN2])
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(run.folder.name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    # The limit the model was trained at, not the positions of its backbone: servers cut there.
    writer.add_context_length(run.max_length or 0)
    writer.add_pooling_type(gguf.PoolingType.LAST)
    writer.add_array(DIMS_KEY, run.dims)
    for name, prompt in prompts.items():
        writer.add_string(PROMPT_KEY.format(name), prompt)
    write_tokenizer(writer, run.folder, config)
    _write_tensors(writer, run, progress=progress)
    writer.close()


def _write_tensors(writer: Any, run: RunFolder, *, progress: bool) -> None:
    """Header first, then one tensor at a time, so that no more than one is in memory."""
    import gguf
    from safetensors import safe_open

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, run.config["num_hidden_layers"])
    shards: list[Any] = [safe_open(path, framework="pt") for path in run.weight_files]
    held = [(shard, name) for shard in shards for name in shard.keys()]  # noqa: SIM118
    for shard, name in held:
        shape = shard.get_slice(name).get_shape()
        kind = _stored(shape)
        # A release holds the decoder without the language model's head and prefix.
        found: str | None = names.get_name(f"model.{name}", try_suffixes=(".weight", ".bias"))
        if found is None:
            raise UserError(f"{name} is a tensor that a Qwen2 decoder in GGUF does not have.")
        writer.add_tensor_info(found, shape, kind, kind.itemsize * prod(shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for shard, name in tqdm(held, "GGUF, f16", delay=2, unit="tensor", leave=False, disable=not progress):
        tensor = shard.get_tensor(name).float()
        if len(tensor.shape) > 1 and not bool((tensor.abs() <= _LARGEST_HALF).all()):
            raise UserError(
                f"{name} holds {float(tensor.abs().max()):.3g}; float16, of which GGUF files are made, ends "
                f"at {_LARGEST_HALF:,}. These weights are most likely broken: look at the training."
            )
        writer.write_tensor_data(tensor.numpy().astype(_stored(tensor.shape)))


def _stored(shape: Sequence[int]) -> Any:
    import numpy as np

    # llama.cpp adds and scales by vectors in float32.
    return np.dtype(np.float16 if len(shape) > 1 else np.float32)


def _quantize(half: Path, path: Path, name: GgufType, *, progress: bool) -> None:
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, _QUANTIZED[name])
    bar = tqdm(desc=f"GGUF, {name}", delay=2, unit="tensor", leave=False, disable=not progress)
    with bar, _llama_cpp_log(partial(_advance, bar)) as lines:
        failed = llama_cpp.llama_model_quantize(str(half).encode(), str(path).encode(), parameters)
    if failed:
        raise UserError(f"llama.cpp could not make {path.name} of {half.name}: {''.join(lines[-3:]).strip()}")


def _advance(bar: "tqdm[Any]", line: str) -> None:
    """Move a bar by a line of llama.cpp's log, which begins `[  12/ 290]` at each tensor it quantises."""
    if found := re.match(r"\[ *(\d+)/ *(\d+)\]", line):
        bar.total = int(found[2])
        bar.update(int(found[1]) - bar.n)


@contextmanager
def _llama_cpp_log(read: Callable[[str], None]) -> Iterator[list[str]]:
    # Without a callback it is two lines per tensor on stderr.
    import llama_cpp

    lines: list[str] = []

    def append(level: int, text: bytes, user_data: Any) -> None:
        lines.append(text.decode("utf-8", "replace"))
        read(lines[-1])

    callback = llama_cpp.llama_log_callback(append)  # C keeps a pointer only: it has to live until the end
    llama_cpp.llama_log_set(callback, None)
    try:
        yield lines
    finally:
        llama_cpp.llama_log_set(llama_cpp._logger.llama_log_callback, None)


# llama.cpp's names for the ways it can split a text into words before merging, by regular expression.
_SPLITS = {
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+": "qwen2"
}


def write_tokenizer(writer: Any, release: Path, config: dict[str, Any]) -> None:
    """Put the tokenizer of the folder `release` into `writer`, a `gguf.GGUFWriter`.

    Texts end with the end-of-sequence and begin without a special token. The same tokens are special. GGUF
    has no place for Unicode normalisation: callers of llama.cpp compose letters (NFC) first.

    Raises UserError for a tokenizer that is not byte-level BPE with a split that llama.cpp has.
    """
    import gguf

    pipeline = read_json(release / "tokenizer.json")
    bpe, added = pipeline["model"], {row["id"]: row for row in pipeline["added_tokens"]}
    names = {number: name for name, number in bpe["vocab"].items()}
    tokens, kinds = [], []
    for number in range(config["vocab_size"]):
        if number in added:
            tokens.append(added[number]["content"])
            special = added[number]["special"]
            kinds.append(gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED)
        else:
            tokens.append(names.get(number, f"[PAD{number}]"))
            kinds.append(gguf.TokenType.NORMAL if number in names else gguf.TokenType.UNUSED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_split(pipeline))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in bpe["merges"]])
    named = read_json(release / "tokenizer_config.json")
    writer.add_eos_token_id(tokens.index(named["eos_token"]))
    writer.add_pad_token_id(tokens.index(named["pad_token"]))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(True)


def _split(pipeline: dict[str, Any]) -> str:
    steps = (pipeline["pre_tokenizer"] or {}).get("pretokenizers", [])
    pattern = next((step["pattern"].get("Regex") for step in steps if step["type"] == "Split"), None)
    if pipeline["model"]["type"] != "BPE" or pattern not in _SPLITS:
        raise UserError(
            f"tokenizer.json is {pipeline['model']['type']} split by {pattern!r}, and llama.cpp has the "
            f"splits of {', '.join(_SPLITS.values())} only: a GGUF of it would read other tokens."
        )
    return _SPLITS[pattern]


def is_gguf(folder: Path) -> bool:
    """Whether `folder` is one that `export_gguf` wrote, not a release in sentence-transformers' layout."""
    return any(folder.glob("*.gguf")) and not (folder / "modules.json").exists()


def check_gguf(folder: Path) -> list[str]:
    """One sentence for each thing in a file's metadata that would make llama.cpp embed otherwise.

    Raises UserError when the package gguf, which reads them, is missing.
    """
    try:
        import gguf
    except ImportError as error:
        raise UserError("Reading GGUF files needs gguf: pip install 'codequarry[gguf]'") from error
    try:
        dims = read_json(folder / GOLDEN)["dims"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{GOLDEN} cannot be read ({type(error).__name__})."]
    try:
        prompts = family_trained_with(read_json(folder / "training.json")).prompts()
    except (OSError, ValueError, AttributeError) as error:
        return [f"training.json does not say which prompts the model has ({error})."]
    expected = {
        "general.architecture": "qwen2",
        "qwen2.pooling_type": int(gguf.PoolingType.LAST),
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_eos_token": True,
        DIMS_KEY: dims,
    } | {PROMPT_KEY.format(name): prompt for name, prompt in prompts.items()}
    problems = []
    for path in sorted(folder.glob("*.gguf")):
        try:
            fields = {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}
        except (OSError, ValueError, KeyError, IndexError) as error:
            problems.append(f"{path.name} cannot be read: {error}.")
            continue
        problems += [f"{path.name}: {problem}" for problem in _file_problems(path, fields, expected)]
    return problems


def _file_problems(path: Path, fields: dict[str, Any], expected: dict[str, Any]) -> Iterator[str]:
    if path.stem.rpartition("-")[2] not in TYPES:
        yield f"its name does not end in -{', -'.join(TYPES)}, so that no tolerance is known for it."
    for name, value in expected.items():
        if fields.get(name) != value:
            yield f"{name} is {json.dumps(fields.get(name))}, not {json.dumps(value)}."
    end, tokens = fields.get("tokenizer.ggml.eos_token_id"), fields.get("tokenizer.ggml.tokens") or []
    if not isinstance(end, int) or not 0 <= end < len(tokens):
        yield f"there is no end-of-sequence among its {len(tokens)} tokens, whose vector is the embedding."
    if "tokenizer.chat_template" in fields:
        yield "it has a chat template, which makes servers take it for a model that chats."
