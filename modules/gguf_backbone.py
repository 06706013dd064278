"""Dequantise a GGUF file once into a folder for transformers: float32 safetensors, configuration, tokenizer.

Names, shapes, order of rows and values are those of transformers' own GGUF loading, whose functions are used:
logits are equal. Read in transformers 5.23 and gguf 0.19.
"""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from codequarry.common.errors import UserError
from codequarry.common.files import file_sha256, read_json, write_json

if TYPE_CHECKING:
    import numpy as np
    from transformers import PretrainedConfig, PreTrainedModel

RECORD = "backbone.json"
_LAYOUT = 1  # of such folders; a folder of another layout is written anew

_SHARD = 500_000_000  # bytes of weights in one file; one is in memory at a time
_PIECE = 1 << 24  # values that are dequantised together
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4  # gguf.TokenType

# llama.cpp's converter marks every added token that looks like <|…|> as control. In Qwen2.5's own tokenizer
# these are not special: with split_special_tokens they stay whole, where special ones are split.
_QWEN2_NOT_SPECIAL = {f"<|fim_{part}|>" for part in ("prefix", "middle", "suffix", "pad")}
_QWEN2_NOT_SPECIAL |= {"<|repo_name|>", "<|file_sep|>"}


def sha256_of(path: Path) -> str:
    """The sha256 of a file, with a progress bar where that takes more than two seconds."""
    size, title = path.stat().st_size, f"sha256 of {path.name}"
    with tqdm(total=size, desc=title, unit="B", unit_scale=True, delay=2, leave=False) as bar:
        return file_sha256(path, bar.update)


def source_sha256(folder: Path) -> str | None:
    """The sha256 of the GGUF file that `folder` was dequantised from; None for any other folder."""
    return _record(folder).get("sha256")


@contextmanager
def head_is_expected(folder: Path) -> Iterator[None]:
    """Within the block the base model of a dequantised folder loads without a report of `lm_head.weight`.

    A language model's file has a head, which `dequantise` keeps and no embedding model reads. Any other key
    that does not belong to the model is still reported.
    """
    from transformers import MODEL_MAPPING, AutoConfig

    base: Any = MODEL_MAPPING[type(AutoConfig.from_pretrained(folder))]
    # Where a class of transformers names the keys that its report leaves out (read in 5.23.0).
    before = base._keys_to_ignore_on_load_unexpected
    base._keys_to_ignore_on_load_unexpected = [*(before or ()), r"^lm_head\.weight$"]
    try:
        yield
    finally:
        base._keys_to_ignore_on_load_unexpected = before


def is_complete(folder: Path, sha256: str) -> bool:
    """Whether `folder` holds, whole, what the GGUF file with this sha256 was dequantised to."""
    record = _record(folder)
    if record.get("sha256") != sha256 or record.get("layout") != _LAYOUT:
        return False
    sizes: dict[str, int] = record["files"]
    return all(
        (folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items()
    )


def _record(folder: Path) -> dict[str, Any]:
    try:
        record = read_json(folder / RECORD)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def dequantise(source: Path, folder: Path, about: dict[str, Any]) -> None:
    """Write what transformers needs of the GGUF file `source` to `folder`, whole or not at all.

    Arguments:
        source: a GGUF file, whose hash has been checked.
        folder: what is there is replaced. The caller holds its lock.
        about: fields of its record: sha256, repository, revision and licence of the source.

    At most one shard and one tensor are in memory, besides the file's own pages.

    Raises UserError when the package gguf is missing, when the file cannot be read or is not of an
    architecture that transformers reads tensor by tensor, and when the disk is too full.
    """
    if find_spec("gguf") is None:
        raise UserError(
            f"{source.name} is a GGUF file, and dequantising it needs gguf: pip install 'codequarry[train]'"
        )
    import torch
    from gguf import GGUFReader
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
    )

    print(f"Dequantising {source.name} into {folder}, once.", file=sys.stderr, flush=True)
    writing = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(writing, ignore_errors=True)  # of a process that was killed: the lock is ours
    writing.mkdir(parents=True)
    try:
        with _readable(source):
            reader = GGUFReader(source)
            config = AutoConfig.from_pretrained(str(source.parent), gguf_file=source.name)
            with torch.device("meta"):
                model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
            config.architectures = [type(model).__name__]
            # transformers' own reordering of a tensor's values.
            kind: Any = TENSOR_PROCESSORS.get(
                reader.fields["general.architecture"].contents(), TensorProcessor
            )
            processor = kind(config=config.to_dict())
            names = get_gguf_hf_weights_map(model, processor)
            _tokenizer(source, reader).save_pretrained(writing)
        _write_config(config, writing)
        shards = _shards(source, model, names, reader)
        types = _write_weights(source, shards, processor, writing)
        files = {file.name: file.stat().st_size for file in sorted(writing.iterdir())}
        made_with = {name: version(name) for name in ("gguf", "transformers")}
        write_json(
            writing / RECORD,
            {"layout": _LAYOUT, "file": source.name, "size": source.stat().st_size}
            | about
            | {"quantisation": types, "made_with": made_with, "files": files},
        )
        shutil.rmtree(folder, ignore_errors=True)
        writing.replace(folder)
    except (OSError, SafetensorError) as error:  # the second is what a full disk raises in there
        raise UserError(
            f"{source.name} could not be dequantised into {folder} ({error}). Free some space there, or name "
            "another folder in CODEQUARRY_CACHE."
        ) from error
    finally:
        shutil.rmtree(writing, ignore_errors=True)


@contextmanager
def _readable(source: Path) -> Iterator[None]:
    """Turn whatever the libraries raise for a damaged or malicious file into a UserError with advice."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{source} cannot be read as a GGUF file of a language model ({type(error).__name__}: {reason}). "
            "If the file is damaged, fetch it again; if it is of an architecture or a tokenizer that "
            "transformers does not read, pass a backbone in safetensors."
        ) from error


Shard = list[tuple[Any, str]]  # GGUF tensors, and the names of the parameters that they become


def _shards(source: Path, model: "PreTrainedModel", names: dict[str, str], reader: Any) -> list[Shard]:
    """The tensors cut into files. Refuses a file that does not hold each parameter once, in its shape."""
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        for name in model.all_tied_weights_keys:
            wanted.pop(name, None)
    tensors = [(tensor, names[tensor.name]) for tensor in reader.tensors if tensor.name in names]
    held = {name: tuple(tensor.shape.tolist()[::-1]) for tensor, name in tensors}
    differing = sorted(name for name in wanted.keys() | held.keys() if wanted.get(name) != held.get(name))
    if differing or len(tensors) != len(held):
        raise UserError(
            f"{source} holds {len(held)} of the {len(wanted)} parameters of a {model.config.model_type} "
            f"model, and differs in {', '.join(differing[:3]) or 'their names'}. Such a file is not "
            "dequantised tensor by tensor here: load it with transformers, save it, and pass that folder."
        )
    shards: list[Shard] = [[]]
    for tensor, name in tensors:
        if shards[-1] and _bytes([*shards[-1], (tensor, name)]) > _SHARD:
            shards.append([])
        shards[-1].append((tensor, name))
    return shards


def _bytes(shard: Shard) -> int:
    """Of the tensors in float32."""
    return 4 * sum(int(tensor.n_elements) for tensor, _ in shard)


def _write_weights(source: Path, shards: list[Shard], processor: Any, target: Path) -> dict[str, int]:
    """Write the shards and their index, if the disk has room; returns the number of tensors of each type."""
    import numpy as np
    from safetensors.numpy import save_file

    total, free = sum(map(_bytes, shards)), shutil.disk_usage(target).free
    if free < total:
        raise UserError(
            f"{source.name} takes {total / 1e9:.1f} GB dequantised, and {target.parent} has "
            f"{free / 1e9:.1f} GB left. Free some space there, or name another folder in CODEQUARRY_CACHE."
        )
    index: dict[str, str] = {}
    with tqdm(total=total, desc=f"dequantising {source.name}", unit="B", unit_scale=True) as bar:
        for number, shard in enumerate(shards, start=1):
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            weights = {}
            for tensor, name in shard:
                values = processor.process(weights=_dequantised(tensor), name=tensor.name).weights
                weights[name] = np.ascontiguousarray(values)
                bar.update(4 * int(tensor.n_elements))
            save_file(weights, target / file, metadata={"format": "pt"})
            index |= dict.fromkeys(weights, file)
            del weights, values  # before the next one is dequantised
    written = {"metadata": {"total_size": total}, "weight_map": index}
    write_json(target / "model.safetensors.index.json", written)
    return dict(Counter(tensor.tensor_type.name for shard in shards for tensor, _ in shard))


def _dequantised(tensor: Any) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """A tensor's values, dequantised some rows at a time: at once takes twice the memory."""
    import numpy as np
    from gguf.quants import dequantize

    rows = len(tensor.data)
    values = np.empty(tuple(tensor.shape.tolist()[::-1]), dtype=np.float32)
    step = max(1, _PIECE // max(1, values.size // rows))
    try:
        for start in range(0, rows, step):
            values[start : start + step] = dequantize(tensor.data[start : start + step], tensor.tensor_type)
    except NotImplementedError as error:
        raise UserError(
            f"{tensor.name} is {tensor.tensor_type.name}, which the package gguf does not dequantise. Pass a "
            "file of another quantisation."
        ) from error
    return values


def _write_config(config: "PretrainedConfig", target: Path) -> None:
    """config.json without the file's name and quantisation, its float32 values as they were written."""
    values = json.loads(config.to_json_string())
    for name in ("quantization_config", "_name_or_path", "_model_name_or_path", "name_or_path"):
        values.pop(name, None)
    write_json(target / "config.json", _shortest(values) | {"dtype": "float32"})


def _shortest(value: Any) -> Any:
    """Floats that went through float32 as the shortest decimal: 1e-06 for 9.999999974752427e-07."""
    import numpy as np

    if isinstance(value, dict):
        return {key: _shortest(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shortest(item) for item in value]
    if isinstance(value, float) and float(np.float32(value)) == value:
        return float(str(np.float32(value)))
    return value


def _tokenizer(source: Path, reader: Any) -> Any:
    from transformers import AutoTokenizer

    fields = reader.fields
    if "tokenizer.ggml.pre" in fields and fields["tokenizer.ggml.pre"].contents() == "qwen2":
        tokenizer = _qwen2_tokenizer(fields)
    else:
        tokenizer = AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name)
    tokenizer.chat_template = None
    return tokenizer


def _qwen2_tokenizer(fields: Any) -> Any:
    """Qwen2's tokenizer with the file's tokens, equal to the one that Qwen publishes.

    transformers' own conversion keeps the rows that only pad the embedding as tokens ([PAD151665] …), leaves
    out Qwen2's Unicode normalisation, and trusts llama.cpp on what is special.
    """
    from tokenizers import AddedToken
    from transformers import Qwen2Tokenizer

    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    merges: Any = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    named: dict[str, Any] = {"unk_token": None}
    for name, key in (("eos_token", "eos"), ("pad_token", "padding")):
        if f"tokenizer.ggml.{key}_token_id" in fields:
            named[name] = tokens[fields[f"tokenizer.ggml.{key}_token_id"].contents()]
    vocabulary = {
        token: number
        for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in (_NORMAL, _CONTROL, _USER_DEFINED)
    }
    length = int(fields[f"{fields['general.architecture'].contents()}.context_length"].contents())
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges, model_max_length=length, **named)
    tokenizer.add_tokens(
        [
            AddedToken(token, normalized=False, special=kind == _CONTROL and token not in _QWEN2_NOT_SPECIAL)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind in (_CONTROL, _USER_DEFINED)
        ]
    )
    return tokenizer
