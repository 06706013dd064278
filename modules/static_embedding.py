"""A static model's first module: the mean of a row per token, with the checks of `InstructionPrefix`."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from codequarry.common.errors import UserError
from codequarry.common.files import write_json
from codequarry.modules.instruction_prefix import refuse_other_containers
from codequarry.modules.static_files import (
    CONFIG,
    ROWS,
    STATIC,
    WEIGHTS,
    read_static_files,
    static_fingerprint,
)
from codequarry.modules.text_checks import empty_texts, refuse_empty, refuse_unreadable


class StaticConfig:
    """What `config.json` holds of a static model; as far as our code asks, like transformers' configurations.

    Arguments: `settings`, the file's own fields: those that model2vec reads (`normalize`, `max_length`, which
    is null for no limit), the `dtype` of the stored rows, and our `matryoshka_dimensions`.
    """

    model_type = STATIC
    matryoshka_dimensions: list[int]

    def __init__(self, **settings: Any) -> None:
        fixed = {
            "model_type": STATIC,
            "architectures": ["StaticModel"],
            "normalize": True,
            "max_length": None,
        }
        self.__dict__.update(settings | fixed)

    def to_dict(self) -> dict[str, Any]:
        """The fields of the file by name, without the `use_cache` that the trainer sets."""
        return {name: value for name, value in vars(self).items() if name != "use_cache"}


class PromptedStaticEmbedding(StaticEmbedding):
    """`StaticEmbedding` in float32 that refuses what its vectors would be wrong or meaningless for.

        vector = mean over the tokens t of prompt + text of rows[t]

    Its tokenizer takes the prompt off again (`static_tokenizer`), so a text has the same tokens for each task
    and side; a caller names its task all the same, as with every model. There is no limit of length.

    Rows that are stored in half precision are float32 in memory: a mean in half precision differs in its
    fourth digit.

    Arguments:
        tokenizer, embedding_weights, embedding_dim: those of sentence-transformers' class.
        config: None for one without Matryoshka dimensions.

    `token_dropout` is the share of a text's tokens that are left out while training.

    `preprocess` raises UserError as that of `InstructionPrefix` does.
    """

    stock_class = StaticEmbedding
    on_model_ready = refuse_other_containers
    tokenizer: Any

    def __init__(
        self,
        tokenizer: Tokenizer,
        embedding_weights: Any = None,
        embedding_dim: int | None = None,
        *,
        config: StaticConfig | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(tokenizer, embedding_weights, embedding_dim, **kwargs)
        tokenizer.no_truncation()
        self.backend = tokenizer
        # A copy with transformers' interface, which the rest of the package counts and caches tokens by;
        # transformers gives it a post-processor, which the saved file must not have.
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, clean_up_tokenization_spaces=False
        )
        self.config = config or StaticConfig(dtype="float32")
        self.token_dropout = 0.0

    @property
    def max_seq_length(self) -> None:  # type: ignore[override]
        """None: no limit."""
        return None

    def preprocess(  # type: ignore[override]
        self, inputs: Sequence[str], prompt: str | None = None, task: str | None = None, **kwargs: Any
    ) -> dict[str, Tensor]:
        """`input_ids (all tokens,)` and `offsets (texts,)`, where each text begins.

        Arguments: as `InstructionPrefix.preprocess`; others are ignored, as by the stock class.
        """
        if task is not None and prompt is None:
            raise UserError(
                f"task {task!r} came without its prefix, which the model has and this module has not: call "
                "preprocess of the model, or pass prompt= with the prefix."
            )
        refuse_unreadable(inputs)
        rows = self._ids([f"{prompt or ''}{text}" for text in inputs])
        silent = [place for place, ids in enumerate(rows) if not ids]
        if silent:
            refuse_empty(inputs, empty_texts(self, inputs, prompt or ""))
        lengths = torch.tensor([len(ids) for ids in rows])
        return {
            "input_ids": torch.tensor([one for ids in rows for one in ids], dtype=torch.long),
            "offsets": lengths.cumsum(0) - lengths,
        }

    def _ids(self, texts: list[str]) -> list[list[int]]:
        found = self.backend.encode_batch_fast(texts, add_special_tokens=False)
        return [one.ids for one in found]

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Add `sentence_embedding (texts, dim)` to the features of `preprocess`, or to packed ones."""
        ids = features["input_ids"].flatten()
        packed = features.get("cu_seq_lens_q")
        offsets = features["offsets"] if packed is None else packed[:-1].long()
        if self.training and self.token_dropout:
            ids, offsets = _some_tokens(ids, offsets, self.token_dropout)
        features["sentence_embedding"] = functional.embedding_bag(
            ids, self.embedding.weight, offsets, mode="mean"
        )
        return features

    @property
    def fingerprint(self) -> str:
        """See `static_fingerprint`."""
        rows = self.embedding.weight.detach().float().cpu().numpy()
        return static_fingerprint(rows, self.backend)

    def stock_view(self) -> StaticEmbedding:
        """The same rows as a module of sentence-transformers' own class, which saves them."""
        view: Any = copy.copy(self)
        view.__class__ = StaticEmbedding
        view.tokenizer = self.backend
        stock: StaticEmbedding = view
        return stock

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any) -> "PromptedStaticEmbedding":  # type: ignore[override]
        """The module of a local folder, as `complete_folder` left it or as sentence-transformers saved it."""
        found = read_static_files(Path(model_name_or_path, subfolder))
        return cls(found.tokenizer, torch.from_numpy(found.rows), config=StaticConfig(**found.config))


def _some_tokens(ids: Tensor, offsets: Tensor, dropout: float) -> tuple[Tensor, Tensor]:
    """The ids without a random share of them, at least one a text, and where its texts begin now."""
    keep = torch.rand(len(ids), device=ids.device) >= dropout
    ends = torch.cat([offsets[1:], offsets.new_tensor([len(ids)])])
    before = torch.cat([keep.new_zeros(1, dtype=torch.long), keep.long().cumsum(0)])
    keep[offsets[before[ends] == before[offsets]]] = True  # the first token of a text that has lost them all
    before = torch.cat([before.new_zeros(1), keep.long().cumsum(0)])
    return ids[keep], before[offsets]


def complete_folder(folder: Path, module: PromptedStaticEmbedding) -> None:
    """Make what sentence-transformers saved of a static model readable by model2vec too.

    The tensor gets the name that both read, and `config.json` the fields that say how: normalised, without a
    limit of length (model2vec's own default cuts at 512 tokens).
    """
    stored = load_file(folder / WEIGHTS)
    if ROWS not in stored:
        save_file({ROWS: stored["embedding.weight"]}, folder / WEIGHTS, metadata={"format": "pt"})
    rows = module.embedding.weight
    about = {
        "dtype": str(rows.dtype).removeprefix("torch."),
        "vocab_size": rows.shape[0],
        "hidden_size": rows.shape[1],
    }
    write_json(folder / CONFIG, dict(sorted((module.config.to_dict() | about).items())))


def static_module(model: nn.Module) -> PromptedStaticEmbedding | None:
    """The static embedding that `model` begins with; None for a model with a transformer."""
    first = next(iter(model.children()), None)
    return first if isinstance(first, PromptedStaticEmbedding) else None
