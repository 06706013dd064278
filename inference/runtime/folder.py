"""A model folder on the engine alone: the first vector without importing sentence-transformers, which takes
five times as long as importing torch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from codequarry.common.environment import has_fast_bf16
from codequarry.common.errors import UserError
from codequarry.common.files import read_json
from codequarry.inference.encoder import Vectors
from codequarry.inference.model_checks import (
    calibration_rows,
    check_files,
    check_int8,
    check_vectors,
    read_object,
    weight_files,
)
from codequarry.inference.runtime.engine import Engine, Plan, PoolingMode, Unsupported
from codequarry.inference.runtime.tokens import FolderTokenizer
from codequarry.inference.runtime.windows import ahead, common_start
from codequarry.modules.golden_vectors import GOLDEN
from codequarry.modules.identity import check_dim, digest, tokenizer_state
from codequarry.modules.saved_weights import broken_tensors, stored_shapes
from codequarry.modules.tasks import PromptFamily, family_of, wrong_prompts
from codequarry.modules.text_checks import check_room_for_text, empty_texts, refuse_empty

_TYPES = {"F32": torch.float32, "BF16": torch.bfloat16}
_PREFIXES = {"bert": "bert.", "qwen2": "model."}
_UNREAD = {"bert": {"pooler.dense.weight", "pooler.dense.bias"}, "qwen2": set[str]()}
_PROMPTS = 64  # that are remembered
_CHECKED = 256 << 20  # bytes of weights that are looked through for NaN; larger ones show it in their vectors


class FolderModel:
    """What `search` needs of a model (`TaskModel`), read from a folder and computed by an `Engine`.

    Vectors, fingerprint and refusals are those of `codequarry.load` of the same folder. Weights stay in the
    file, mapped into memory, until the engine copies them.

    Arguments:
        folder: one that `release build` or `save` wrote.
        check: whether its golden vectors are computed and compared, as `load` does.
        int8: whether to compute in 8-bit integers, see `Engine`.

    Raises Unsupported for a folder that this does not read as sentence-transformers would, or that has no
    golden vectors to show that it does; UserError for one that is damaged.

    >>> FolderModel(Path("models/mini")).encode(["parse a date"], prompt="").shape
    (1, 384)
    """

    def __init__(self, folder: Path, *, check: bool = True, int8: bool = False) -> None:
        check_files(folder)
        if check and not (folder / GOLDEN).is_file():
            raise Unsupported("it has no golden vectors")
        self.folder = folder
        self._config = read_object(folder / "config.json")
        self.prompts: dict[str, str] = read_object(folder / "config_sentence_transformers.json")["prompts"]
        if wrong_prompts(self.prompts):
            raise Unsupported("it does not carry the prompts of codequarry's tasks")
        pooling, normalizes = stored_modules(folder, self._config)
        self.max_seq_length = _max_seq_length(folder)
        settings = read_object(folder / "tokenizer_config.json")
        self.tokenizer = FolderTokenizer(folder, settings, self.max_seq_length)
        self.truncate_dim: int | None = None
        self.device = torch.device("cpu")
        self._plan = Plan(self._config, pooling, normalizes)
        self._weights = _Weights(folder, self._config)
        self._dtype = self._weights.dtype
        self._engines: dict[torch.dtype, Engine] = {}
        self._prefixes: dict[str, tuple[int, ...]] = {}
        self._roomy: set[str] = set()
        self.int8 = False
        fast = torch.bfloat16 if has_fast_bf16("cpu") else torch.float32
        if check or not int8:
            self._engine(self._dtype if check else fast)
        if check:
            check_vectors(folder, self)
        if int8:
            rows = calibration_rows(folder)
            calibration = self.tokenizer.ids([text for text, _ in rows])
            engine = Engine(self._plan, self._weights, torch.float32, calibration=calibration)
            self._engines = {torch.float32: engine}
            self._dtype = torch.float32
            self.int8 = True
            check_int8(folder, self, rows)
        if unread := self._weights.unread():
            raise Unsupported(f"its weights have {unread}, which is not known here")

    @property
    def prompt_family(self) -> PromptFamily:
        """The family of its prompts."""
        return family_of(self.prompts)

    @property
    def matryoshka_dims(self) -> tuple[int, ...]:
        """The dimensions it was trained to be truncated to, largest first; () when it was not."""
        return tuple(self._config.get("matryoshka_dimensions") or ())

    def get_embedding_dimension(self) -> int:
        """Dimensions of a vector."""
        whole: int = self._config["hidden_size"]
        return whole if self.truncate_dim is None else min(whole, self.truncate_dim)

    def check_dims(self, dims: object) -> None:
        """Raise UserError unless vectors of this model may be truncated to `dims` dimensions."""
        check_dim(dims, self.matryoshka_dims or (self._config["hidden_size"],))

    @property
    def bf16(self) -> bool:
        """Whether it computes in bfloat16 under `torch.autocast`."""
        return not self.int8

    def parameters(self) -> Iterator[Tensor]:
        """One tensor of the type that the weights have in memory."""
        yield torch.empty(0, dtype=self._dtype)

    @cached_property
    def fingerprint(self) -> str:
        """See `codequarry.modules.embedder.fingerprint`."""
        pooling: dict[str, object] = {
            "embedding_dimension": self._config["hidden_size"],
            "pooling_mode": self._plan.pooling,
            "include_prompt": True,
        }
        tokenizer = tokenizer_state(self.tokenizer.text)
        split = self.tokenizer.split_special_tokens
        return digest(self._weights.all(), tokenizer, split, self.max_seq_length, [("", pooling)])

    def encode(
        self,
        inputs: Sequence[str],
        *,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        normalize_embeddings: bool = False,
        show_progress_bar: bool = False,
        **_: Any,
    ) -> Vectors:
        """Vectors `(texts, dims)`; arguments as of `CodeEmbedder.encode`. Under `torch.autocast`, in bf16.

        Raises UserError for an empty text, half a surrogate pair, a prompt that leaves no room for a text,
        and a dimension that the model was not trained for.
        """
        texts, prompt = list(inputs), prompt or ""
        dims = self.truncate_dim if truncate_dim is None else truncate_dim
        if dims is not None:
            self.check_dims(dims)
        refuse_empty(texts, empty_texts(self, texts, prompt))
        self._check_room(prompt)
        if not texts:
            return np.zeros((0, dims or self.get_embedding_dimension()), dtype=np.float32)
        engine = self._engine(
            torch.get_autocast_dtype("cpu") if self.bf16 and torch.is_autocast_enabled("cpu") else self._dtype
        )
        shared = [self._prefix(prompt)] if prompt and engine.causal else []
        units = normalize_embeddings or dims is not None
        found = np.empty((len(texts), dims or engine.size), dtype=np.float32)
        with tqdm(total=len(texts), desc="Texts", disable=not show_progress_bar) as bar:
            for window, ids in ahead(self.tokenizer.ids, texts, prompt):
                vectors = engine.vectors(ids, prefixes=shared, advance=bar.update)[:, :dims]
                found[window] = (normalize(vectors, dim=-1) if units else vectors).numpy()
        return found

    def _check_room(self, prompt: str) -> None:
        """`check_room_for_text`, once a prompt: to tokenise it again takes 1% of a query."""
        if prompt not in self._roomy:
            check_room_for_text(prompt, len(self.tokenizer.ids([prompt], cut=False)[0]), self.max_seq_length)
            if len(self._roomy) >= _PROMPTS:
                self._roomy.clear()
            self._roomy.add(prompt)

    def _prefix(self, prompt: str) -> tuple[int, ...]:
        if prompt not in self._prefixes:
            self._prefixes[prompt] = common_start(*self.tokenizer.ids([prompt, f"{prompt}x"], cut=False))
        return self._prefixes[prompt]

    def _engine(self, dtype: torch.dtype) -> Engine:
        if dtype not in self._engines:
            self._engines[dtype] = Engine(self._plan, self._weights, dtype)
        return self._engines[dtype]


class _Weights:
    """The tensors of a folder, mapped into memory, by their names in transformers' model.

    A file is opened for each tensor, and closed with it: else the pages of all that was copied would count as
    this process's memory.

    Raises Unsupported for types that would be rounded when they are loaded, and for NaN and infinity.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        kind = str(config["model_type"])
        self._held: dict[str, tuple[Path, str]] = {}
        self._used: set[str] = set()
        self._optional = _UNREAD[kind]
        types: set[str] = set()
        files = weight_files(folder)
        for path in files:
            try:
                stored = stored_shapes([path])
            except (SafetensorError, OSError) as error:
                raise UserError(f"{path} cannot be read ({type(error).__name__}: {error}).") from error
            self._held |= {name.removeprefix(_PREFIXES[kind]): (path, name) for name in stored}
            types |= {dtype for _, dtype in stored.values()}
        wanted = str(config.get("dtype") or config.get("torch_dtype") or "float32").removeprefix("torch.")
        found = next((dtype for dtype in _TYPES.values() if str(dtype) == f"torch.{wanted}"), None)
        if found is None or not types <= _TYPES.keys():
            raise Unsupported(f"its weights are {', '.join(sorted(types))}, and {wanted} in memory")
        self.dtype = found
        if found != torch.float32 and {_TYPES[one] for one in types} != {found}:
            raise Unsupported(f"its weights would be rounded to {wanted}")
        if sum(path.stat().st_size for path in files) <= _CHECKED and broken_tensors(dict(self._raw())):
            raise Unsupported("its weights hold NaN or infinity")

    def __call__(self, name: str) -> Tensor:
        path, held = self._held[name]
        self._used.add(name)
        return _tensor(path, held)

    def unread(self) -> str:
        """A tensor that the engine did not ask for and nothing explains; "" for none."""
        return next(iter(sorted(self._held.keys() - self._used - self._optional)), "")

    def all(self) -> Iterator[tuple[str, Tensor]]:
        """All tensors as they are in memory after `codequarry.load`, under their names there, sorted."""
        for name, tensor in self._raw():
            yield f"0.model.{name}", tensor.to(self.dtype)

    def _raw(self) -> Iterable[tuple[str, Tensor]]:
        return ((name, _tensor(*self._held[name])) for name in sorted(self._held))


def _tensor(path: Path, name: str) -> Tensor:
    with safe_open(path, framework="pt") as weights:
        tensor: Tensor = weights.get_tensor(name)
    return tensor


def stored_modules(folder: Path, config: Mapping[str, Any]) -> tuple[PoolingMode, bool]:
    """The pooling of a folder, and whether a Normalize module follows; Unsupported for other modules."""
    rows = read_json(folder / "modules.json")
    kinds = [row["type"].rpartition(".")[2] for row in rows]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]) or rows[0]["path"]:
        raise Unsupported(f"its modules are {', '.join(kinds)}")
    pooling = read_object(folder / rows[1]["path"] / "config.json")
    modes = [pooling[name] for name in ("pooling_mode",) if name in pooling]
    legacy = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "lasttoken"}
    prefix = "pooling_mode_"
    if not modes:
        on = [
            name.removeprefix(prefix) for name, value in pooling.items() if name.startswith(prefix) and value
        ]
        modes = [legacy.get(name, name) for name in on]
    if len(modes) != 1 or modes[0] not in legacy.values() or pooling.get("include_prompt", True) is not True:
        raise Unsupported("it pools without the prompt, or in a way that is not known here")
    size = pooling.get("embedding_dimension", pooling.get("word_embedding_dimension"))
    if size != config.get("hidden_size"):
        raise Unsupported("its pooling is of another size than its backbone")
    return modes[0], len(rows) == 3


def _max_seq_length(folder: Path) -> int:
    """Tokens of a text; the golden vectors of a saved model have it too."""
    found = None
    if (folder / "sentence_bert_config.json").is_file():
        found = read_object(folder / "sentence_bert_config.json").get("max_seq_length")
    if found is None:
        found = read_object(folder / "tokenizer_config.json").get("model_max_length")
    if type(found) is not int or not 0 < found < 1 << 20:
        raise Unsupported("its files do not name the longest text")
    return found
