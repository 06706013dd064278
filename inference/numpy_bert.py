"""A small BERT encoder in numpy alone: the strong model of a search, without torch.

Importing torch and sentence-transformers takes longer than embedding the 64 candidates of a query. This reads
the released folder itself and gives the same vectors, about 1e-6 from those of torch: the folder's golden
vectors are compared at every start, and a folder that it does not reproduce is left to `load`.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from codequarry.common.files import file_sha256, read_json, read_regular
from codequarry.modules.golden_vectors import GOLDEN, compared_rows
from codequarry.modules.identity import tokenizer_state
from codequarry.modules.tasks import PromptFamily, family_of

Array = NDArray[np.float32]

_GROUP = 512  # tokens that go through the layers together: their widest activations, 3 MB, stay in the cache
_BLOCK = 16_384  # numbers of a GELU at a time, for the same reason
_LARGEST = 1 << 30  # bytes of weights
_WEIGHTS = "model.safetensors"
_TOLERANCE = 1e-4  # of each number of a golden vector, as in `load`
_TYPES = {"F32": np.float32, "F16": np.float16}


class NumpyBert:
    """A BERT with mean pooling, as search needs a model (`inference.encoder.TaskModel`).

    Linear layers run over the tokens of several texts back to back, so nothing is padded; groups of texts run
    in threads, one BLAS thread each.

    Argument: `folder`, as `train.py` or a release writes it. `truncate_dim` may be set to one of its
    Matryoshka dimensions; None for all.

    Raises ValueError, KeyError or OSError for a folder that this class does not read: see `numpy_bert`.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        config = _checked_config(folder)
        self.truncate_dim: int | None = None
        self.device = SimpleNamespace(type="numpy")
        self.prompts: Mapping[str, str] = read_json(folder / "config_sentence_transformers.json")["prompts"]
        self.prompt_family: PromptFamily = family_of(self.prompts)
        self.max_seq_length = int(read_json(folder / "sentence_bert_config.json")["max_seq_length"])
        self.matryoshka_dims = tuple(config.get("matryoshka_dimensions") or (config["hidden_size"],))
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._state = tokenizer_state(self._tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_seq_length)
        self._plain_special_tokens = bool(
            read_json(folder / "tokenizer_config.json").get("split_special_tokens", False)
        )
        self._tokenizer.encode_special_tokens = self._plain_special_tokens
        self._heads, self._epsilon = config["num_attention_heads"], np.float32(config["layer_norm_eps"])
        self._tensors = read_tensors(folder / _WEIGHTS)
        self._read_layers(config)

    def get_embedding_dimension(self) -> int:
        """Dimensions of a vector."""
        return self.truncate_dim or self.matryoshka_dims[0]

    @property
    def fingerprint(self) -> str:
        """That of the model as `codequarry.load` returns it: both have the same vectors."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self._tensors.items()):
            digest.update(f"0.model.{name} torch.float32 {tensor.shape}".encode())
            digest.update(_float32(tensor).data)
        digest.update(json.dumps(self._state).encode())
        digest.update(f"{self._plain_special_tokens} {self.max_seq_length}".encode())
        pooling = {
            "embedding_dimension": self._width,
            "pooling_mode": "mean",
            "include_prompt": True,
        }
        digest.update(repr(sorted(pooling.items())).encode())
        return digest.hexdigest()

    def tokenizer(self, texts: Sequence[str], **_: Any) -> dict[str, list[list[int]]]:
        """The ids of each text at its full length, special tokens included."""
        self._tokenizer.no_truncation()
        rows = self._tokenizer.encode_batch(list(texts))
        self._tokenizer.enable_truncation(self.max_seq_length)
        return {"input_ids": [row.ids for row in rows]}

    def encode(
        self, texts: Sequence[str], *, prompt: str = "", truncate_dim: int | None = None, **_: Any
    ) -> Array:
        """Vectors `(texts, dims)`, each text behind `prompt` and cut on the right to the model's length.

        Before truncation they have unit length. Further arguments are those of sentence-transformers.
        """
        rows = [row.ids for row in self._tokenizer.encode_batch([prompt + text for text in texts])]
        order = sorted(range(len(rows)), key=lambda place: -len(rows[place]))
        groups = list(_groups(order, rows))
        found = np.empty((len(rows), self._width), np.float32)

        def run(group: list[int]) -> None:
            found[group] = self._forward([rows[place] for place in group])

        with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as threads:
            for _done in threads.map(run, groups):
                pass
        return found[:, : truncate_dim or self.get_embedding_dimension()]

    def _read_layers(self, config: Mapping[str, Any]) -> None:
        def get(name: str) -> Array:
            tensor = _float32(self._tensors[name])
            if not np.isfinite(tensor).all():
                raise ValueError(f"{name} is not finite")
            return tensor

        self._words = self._tensors["embeddings.word_embeddings.weight"]
        self._positions = get("embeddings.position_embeddings.weight")
        self._positions = self._positions + get("embeddings.token_type_embeddings.weight")[0]
        self._norm = (get("embeddings.LayerNorm.weight"), get("embeddings.LayerNorm.bias"))
        self._width = int(self._positions.shape[1])
        self._layers = []
        for number in range(config["num_hidden_layers"]):
            at = f"encoder.layer.{number}."

            def linear(name: str, at: str = at) -> tuple[Array, Array]:
                return np.ascontiguousarray(get(f"{at}{name}.weight").T), get(f"{at}{name}.bias")

            def norm(name: str, at: str = at) -> tuple[Array, Array]:
                return get(f"{at}{name}.LayerNorm.weight"), get(f"{at}{name}.LayerNorm.bias")

            three = [linear(f"attention.self.{name}") for name in ("query", "key", "value")]
            attend = (
                np.concatenate([weight for weight, _ in three], axis=1),
                np.concatenate([bias for _, bias in three]),
            )
            self._layers.append(
                (
                    attend,
                    linear("attention.output.dense"),
                    norm("attention.output"),
                    linear("intermediate.dense"),
                    linear("output.dense"),
                    norm("output"),
                )
            )

    def _forward(self, rows: Sequence[Sequence[int]]) -> Array:
        """Unit vectors `(texts, width)` of some texts' ids."""
        lengths = [len(row) for row in rows]
        ends = np.cumsum(lengths)
        hidden = _float32(self._words[np.concatenate(rows)])
        hidden += self._positions[np.concatenate([np.arange(length) for length in lengths])]
        _normalize(hidden, *self._norm, self._epsilon)
        for attend, output, first_norm, up, down, second_norm in self._layers:
            mixed = self._attention(_linear(hidden, attend), ends, lengths)
            hidden += _linear(mixed, output)
            _normalize(hidden, *first_norm, self._epsilon)
            hidden += _linear(_gelu(_linear(hidden, up)), down)
            _normalize(hidden, *second_norm, self._epsilon)
        sums = np.add.reduceat(hidden, [0, *ends[:-1]], axis=0)
        means = sums / np.asarray(lengths, np.float32)[:, None]
        unit: Array = means / np.linalg.norm(means, axis=1, keepdims=True)
        return unit

    def _attention(self, three: Array, ends: Any, lengths: Sequence[int]) -> Array:
        """Queries, keys and values `(tokens, 3 * width)` of all texts, each text attended to by itself."""
        size = self._width // self._heads
        mixed = np.empty((len(three), self._width), np.float32)
        for end, length in zip(ends, lengths, strict=True):
            block = three[end - length : end].reshape(length, 3, self._heads, size).transpose(1, 2, 0, 3)
            scores = np.matmul(block[0] * np.float32(size**-0.5), block[1].transpose(0, 2, 1))
            scores -= scores.max(axis=2, keepdims=True)
            np.exp(scores, out=scores)
            values = np.matmul(scores, block[2])
            values /= scores.sum(axis=2, keepdims=True)
            mixed[end - length : end] = values.transpose(1, 0, 2).reshape(length, self._width)
        return mixed


def numpy_bert(folder: Path) -> NumpyBert | None:
    """The model in `folder`; None where this module does not read it, or does not give its golden vectors.

    `codequarry.load` reads the others, and says what is wrong with one that is damaged.

    >>> numpy_bert(Path("codequarry/models/mini")).get_embedding_dimension()
    384
    """
    try:
        model = NumpyBert(folder)
        is_whole = _is_as_listed(folder) and _gives_golden_vectors(folder, model)
        return model if is_whole else None
    except Exception:  # whatever is wrong with the files, `load` says it
        return None


def _is_as_listed(folder: Path) -> bool:
    """Whether weights and tokenizer have the sha256 that the folder's own records name."""
    listed: dict[str, Any] = {}
    for record, field in ((GOLDEN, "sha256"), ("manifest.json", "files")):
        if (folder / record).is_file():
            listed |= read_json(folder / record).get(field, {})
    return all(
        (entry["sha256"] if isinstance(entry, dict) else entry) == file_sha256(folder / name)
        for name, entry in listed.items()
        if name in (_WEIGHTS, "tokenizer.json", "tokenizer_config.json")
    )


def _gives_golden_vectors(folder: Path, model: NumpyBert) -> bool:
    golden = read_json(folder / GOLDEN)
    if list(model.matryoshka_dims) != list(golden["dims"]) or golden["prompts"] != dict(model.prompts):
        return False
    lengths = [golden.get("max_length")]
    if (folder / "training.json").is_file():
        lengths.append(read_json(folder / "training.json")["recipe"].get("max_length"))
    if any(length not in (None, model.max_seq_length) for length in lengths):
        return False
    rows = compared_rows(golden)
    wanted = np.array([vector for _, vector in rows], np.float32)
    found = model.encode([text for text, _ in rows], truncate_dim=model.matryoshka_dims[0])
    return bool(rows) and wanted.shape == found.shape and bool(np.abs(wanted - found).max() <= _TOLERANCE)


def _checked_config(folder: Path) -> dict[str, Any]:
    """The configuration of a folder that this module reads; ValueError or KeyError for any other one."""
    modules = [row["type"].rpartition(".")[2] for row in read_json(folder / "modules.json")]
    config: dict[str, Any] = read_json(folder / "config.json")
    pooling = read_json(folder / "1_Pooling" / "config.json")
    modes = {name for name, on in pooling.items() if name.startswith("pooling_mode_") and on is True}
    wanted = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "is_decoder": False,
        "position_embedding_type": "absolute",
    }
    if (
        modules != ["Transformer", "Pooling", "Normalize"]
        or any(config.get(name, value) != value for name, value in wanted.items())
        or (
            (modes or {f"pooling_mode_{pooling.get('pooling_mode')}"}) != {"pooling_mode_mean_tokens"}
            and pooling.get("pooling_mode") != "mean"
        )
        or pooling.get("include_prompt") is not True
    ):
        raise ValueError(f"{folder} is no BERT with mean pooling")
    return config


def read_tensors(file: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file by name: float32 or float16, and bfloat16 as its bits in uint16.

    Raises ValueError for another type, OSError for what is no regular file.
    """
    from safetensors import deserialize

    data = read_regular(file, _LARGEST, follow=True)
    if len(data) > _LARGEST:
        raise ValueError(f"{file} is larger than {_LARGEST:,} bytes")
    found: dict[str, NDArray[Any]] = {}
    for name, tensor in deserialize(data):  # type: ignore[no-untyped-call]
        kind = np.uint16 if tensor["dtype"] == "BF16" else _TYPES.get(tensor["dtype"])
        if kind is None:
            raise ValueError(f"{file}: {name} has the type {tensor['dtype']}")
        found[name] = np.frombuffer(tensor["data"], kind).reshape(tensor["shape"])
    return found


def _float32(tensor: NDArray[Any]) -> Array:
    """A new array of the same numbers; uint16 are the upper halves of float32, which is what bfloat16 is."""
    if tensor.dtype == np.uint16:
        return (tensor.astype(np.uint32) << 16).view(np.float32)
    return tensor.astype(np.float32)


def _groups(order: Sequence[int], rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Places in `order`, in groups of about `_GROUP` tokens."""
    group: list[int] = []
    tokens = 0
    for place in order:
        group.append(place)
        tokens += len(rows[place])
        if tokens >= _GROUP:
            yield group
            group, tokens = [], 0
    if group:
        yield group


def _linear(inputs: Array, layer: tuple[Array, Array]) -> Array:
    weight, bias = layer
    outputs: Array = inputs @ weight
    outputs += bias
    return outputs


def _normalize(hidden: Array, weight: Array, bias: Array, epsilon: np.float32) -> None:
    """Layer normalisation, in place."""
    hidden -= hidden.mean(axis=1, keepdims=True)
    variance = np.einsum("td,td->t", hidden, hidden) / np.float32(hidden.shape[1])
    hidden *= (1 / np.sqrt(variance + epsilon))[:, None]
    hidden *= weight
    hidden += bias


# erfc(z) = (a1 t + … + a5 t^5) exp(-z²), t = 1 / (1 + p z), for z >= 0, to 1.5e-7: Abramowitz and Stegun,
# Handbook of Mathematical Functions, 7.1.26. numpy has no erf.
_P = np.float32(0.3275911)
_A = tuple(map(np.float32, (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)))


def _gelu(hidden: Array) -> Array:
    """x Φ(x), in place and in blocks."""
    flat = hidden.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        x = flat[start : start + _BLOCK]
        z = np.abs(x)
        z *= np.float32(0.5**0.5)
        t = z * _P
        t += np.float32(1)
        np.reciprocal(t, out=t)
        tail = t * _A[0]
        for factor in _A[1:]:
            tail += factor
            tail *= t
        np.multiply(z, z, out=z)
        np.negative(z, out=z)
        np.exp(z, out=z)
        tail *= z
        tail *= np.float32(0.5)
        np.subtract(np.float32(1), tail, out=t)
        x *= np.where(x > 0, t, tail)
    return hidden
