"""The engine inside a loaded model: `encode`, `encode_query` and `encode_document` run on it."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from codequarry.inference.runtime.engine import Engine, Plan, PoolingMode, Unsupported
from codequarry.inference.runtime.snapshot import Snapshot
from codequarry.inference.runtime.windows import Ids, ahead, common_start
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.instruction_prefix import InstructionPrefix
from codequarry.modules.last_token_pooling import LastTokenPooling
from codequarry.modules.text_checks import token_ids

_PROMPTS = 64  # whose ids are kept

_BACKBONES = {
    "BertModel",
    "Qwen2Model",
}  # of transformers; a class derived from one may compute something else


class PackedRuntime:
    """Computes the vectors of a `CodeEmbedder` on an `Engine`, as long as that computes the same.

    Arguments:
        batch_invariant: see `Engine`.
        calibration: texts by which the model is put into 8-bit integers; none for the number formats below.

    It computes in bfloat16 under `torch.autocast`, and else in the type of the weights. Whatever changes
    them in place, exchanges a module, or adds a hook or an adapter is seen at the next call. What the engine
    does not compute goes the stock way: `reason` then says why, as the end of a sentence; None after a call
    that the engine answered.

    Copies and pickles of it are new ones: an engine is built at the first call.
    """

    def __init__(self, *, batch_invariant: bool = False, calibration: Sequence[str] = ()) -> None:
        self.batch_invariant = batch_invariant
        self.calibration = list(calibration)
        self.reason: str | None = None
        self._engines: dict[torch.dtype, Engine] = {}
        self._prefixes: dict[str, tuple[int, ...]] = {}
        self._prompts: dict[str, tuple[Any, set[int | None]]] = {}
        self._seen: Snapshot | None = None
        self._building = threading.Lock()

    @property
    def name(self) -> str:
        """As `load` has it."""
        return "int8" if self.int8 else "packed"

    @property
    def int8(self) -> bool:
        """Whether it computes in 8-bit integers."""
        return bool(self.calibration)

    @property
    def bf16(self) -> bool:
        """Whether it computes in bfloat16 under `torch.autocast`."""
        return not self.int8

    def __deepcopy__(self, memo: Any) -> "PackedRuntime":
        return _new(self.batch_invariant, self.calibration)

    def __reduce__(self) -> tuple[Callable[[bool, list[str]], "PackedRuntime"], tuple[bool, list[str]]]:
        return _new, (self.batch_invariant, self.calibration)

    def infer(
        self,
        model: CodeEmbedder,
        inputs: Sequence[Any],
        *,
        prompt: str | None,
        output_value: str | None,
        normalize_embeddings: bool,
        truncate_dim: int | None,
        show_progress_bar: bool,
        device: Any = None,
        **others: Any,
    ) -> Tensor | None:
        """Vectors `(texts, dims)` in the order of `inputs`, or None for what the stock way has to compute.

        Arguments are those of sentence-transformers' `_inference` (6.2.0). `batch_size` has no effect: a
        batch is as many tokens as the processor computes well.

        Raises UserError as `InstructionPrefix.preprocess` does.
        """
        try:
            check_call(model, inputs, output_value, device, others)
            engine = self._engine(model)
        except Unsupported as error:
            self.reason = str(error)
            return None
        self.reason = None
        transformer = model[0]
        assert isinstance(transformer, InstructionPrefix)
        if model.training:  # sentence-transformers does this at each call, which takes 0.3 ms
            model.eval()
        ends = self._checked(transformer, prompt or "")
        shared = _prompts(model, prompt, inputs) if engine.causal else ()
        prefixes = {self._prefix(transformer, one) for one in shared}
        tokenize = partial(tokenize_cut, transformer.tokenizer)
        size = engine.size if truncate_dim is None else min(truncate_dim, engine.size)
        normalize = normalize_embeddings and not (engine.plan.normalize and size == engine.size)

        def vectors_of(ids: Ids, advance: Callable[[int], object] | None = None) -> Tensor:
            if ids[0][-1] not in ends:  # the tokenizer ends texts otherwise than it did
                transformer.check_prompt(prompt or "")
            vectors = engine.vectors(ids, prefixes=prefixes, advance=advance)[:, :size]
            return functional.normalize(vectors, dim=-1) if normalize else vectors

        if len(inputs) == 1:
            return vectors_of(tokenize([f"{prompt or ''}{inputs[0]}"])).clone()
        found = torch.empty(len(inputs), size)
        with tqdm(total=len(inputs), desc="Texts", disable=not show_progress_bar) as bar:
            for window, ids in ahead(tokenize, inputs, prompt or ""):
                found[window] = vectors_of(ids, bar.update)
        return found

    def _checked(self, transformer: InstructionPrefix, prompt: str) -> set[int | None]:
        """`check_prompt`, once a prompt and state of the tokenizer; the ids that texts may end with."""
        tokenizer: Any = transformer.tokenizer
        chat = "message" in transformer.modality_config
        state = (tokenizer, tokenizer.truncation_side, transformer.max_seq_length, chat)
        if self._prompts.get(prompt, (None, None))[0] != state:
            if len(self._prompts) >= _PROMPTS:
                self._prompts.clear()
            transformer.check_prompt(prompt)
            self._prompts[prompt] = (state, {tokenizer.eos_token_id, tokenizer.sep_token_id} - {None})
        return self._prompts[prompt][1]

    def _prefix(self, transformer: InstructionPrefix, prompt: str) -> tuple[int, ...]:
        """The ids that texts behind `prompt` begin with; the engine compares them with each text's."""
        if prompt not in self._prefixes:
            if len(self._prefixes) >= _PROMPTS:
                self._prefixes.clear()
            alone, before = token_ids(transformer.tokenizer, [prompt, f"{prompt}x"])
            self._prefixes[prompt] = common_start(alone, before)
        return self._prefixes[prompt]

    def _engine(self, model: CodeEmbedder) -> Engine:
        backbone: Any = model.transformers_model
        if backbone is None:
            raise Unsupported("it has no transformer")
        with self._building:
            if self._seen is None or not self._seen.is_still(model):
                self._seen = Snapshot(model)
                self._engines.clear()
                self._prefixes.clear()
            dtype = next(backbone.parameters()).dtype
            if self.int8:
                dtype = torch.float32
            elif torch.is_autocast_enabled("cpu"):
                dtype = torch.get_autocast_dtype("cpu")
            if dtype not in (torch.float32, torch.bfloat16):
                raise Unsupported(f"it computes in {dtype}")
            if dtype not in self._engines:
                weights = {name: tensor.detach() for name, tensor in backbone.named_parameters()}
                self._engines[dtype] = Engine(
                    _plan(model),
                    weights.__getitem__,
                    dtype,
                    batch_invariant=self.batch_invariant,
                    calibration=tokenize_cut(model.tokenizer, self.calibration) if self.int8 else None,
                )
            return self._engines[dtype]


def _new(batch_invariant: bool, calibration: list[str]) -> PackedRuntime:
    return PackedRuntime(batch_invariant=batch_invariant, calibration=calibration)


def check_call(
    model: CodeEmbedder, inputs: Sequence[Any], output_value: str | None, device: Any, others: dict[str, Any]
) -> None:
    """Raise Unsupported for a call of `infer` that is not about vectors of texts on the processor."""
    more = {name for name, value in others.items() if value is not None}
    if more - {"batch_size", "save_to_cpu", "task"}:
        raise Unsupported(f"the call has {', '.join(sorted(more))}")
    if output_value != "sentence_embedding":
        raise Unsupported(f"the call asks for {output_value}")
    if not inputs or not all(isinstance(text, str) for text in inputs):
        raise Unsupported("the inputs are not texts")
    if model.device.type != "cpu" or (device is not None and torch.device(device).type != "cpu"):
        raise Unsupported("it is not on the processor")


def _plan(model: CodeEmbedder) -> Plan:
    modules: list[Any] = list(model.children())
    first, *rest = modules
    backbone: Any = model.transformers_model
    if type(first) is not InstructionPrefix or "message" in first.modality_config:
        raise Unsupported("its first module is not a plain Transformer")
    if any(getattr(first, name, None) is not None for name in ("query_length", "document_length")):
        raise Unsupported("its sides have lengths of their own")
    if getattr(first, "query_expansion", None) is not None:
        raise Unsupported("it expands queries")
    if type(backbone).__name__ not in _BACKBONES or not type(backbone).__module__.startswith("transformers."):
        raise Unsupported(f"its backbone is a {type(backbone).__name__}")
    if not rest or type(rest[0]) not in (Pooling, LastTokenPooling):
        raise Unsupported("its second module is not Pooling")
    pooling: Any = rest[0]
    if not pooling.include_prompt or not isinstance(pooling.pooling_mode, str):
        raise Unsupported("it pools without the prompt, or in several ways")
    normalize = rest[1:]
    if [type(module) for module in normalize] not in ([], [Normalize]):
        raise Unsupported("it has modules behind Pooling other than Normalize")
    return Plan(backbone.config.to_dict(), cast(PoolingMode, pooling.pooling_mode), bool(normalize))


def tokenize_cut(tokenizer: Any, texts: list[str]) -> Ids:
    """The ids of each text, cut to the model's length."""
    options = {"truncation": True, "padding": False, "return_attention_mask": False, "verbose": False}
    found: Ids = tokenizer(texts, **options)["input_ids"]
    return found


def _prompts(model: CodeEmbedder, prompt: str | None, texts: Sequence[str]) -> set[str]:
    """The prompts in front of texts; a caller that passes none may have put the model's own there."""
    if prompt:
        return {prompt}
    own = {one for one in model.prompts.values() if one}
    return {one for one in own if any(text.startswith(one) for text in texts)}
