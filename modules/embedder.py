"""`CodeEmbedder`: a `SentenceTransformer` with the five tasks and their prefixes, saved as a stock one.

sentence-transformers 6 refuses a folder whose `modules.json` names any other package's class unless the user
passes `trust_remote_code=True`; LangChain, LlamaIndex and inference servers cannot. So a module of ours has a
`stock_class` that computes the same vectors; the folder names that class, and a `CodeEmbedder` replaces it by
ours when it loads. `LatentAttentionPooling` has none: it is saved under its own name, and not released.

transformers 5 writes `rope_parameters` and `dtype` into `config.json`. transformers 4 reads `rope_theta` and
`torch_dtype`; without them it uses theta 10,000 and float32 without a warning, so the same weights give other
vectors. A saved config has both spellings; each reader ignores the other's.
"""

import copy
import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, StaticEmbedding
from sentence_transformers.util.decorators import deprecated_kwargs
from torch import nn
from torch.nn.functional import normalize

from codequarry.common.errors import UserError
from codequarry.common.files import read_json, share_weights, write_json
from codequarry.modules.attention import Attention
from codequarry.modules.identity import check_dim, digest, tokenizer_state
from codequarry.modules.instruction_prefix import InstructionPrefix
from codequarry.modules.last_token_pooling import LastTokenPooling
from codequarry.modules.latent_attention_pooling import LatentAttentionPooling
from codequarry.modules.saved_folder import write_card, write_golden_sample
from codequarry.modules.static_embedding import PromptedStaticEmbedding, complete_folder, static_module
from codequarry.modules.tasks import SIDES, PromptFamily, Side, family_of, get_task, prompt_name
from codequarry.modules.text_checks import empty_texts, refuse_empty

Module = TypeVar("Module", bound=nn.Module)


class Runtime(Protocol):
    """Another way to the vectors of a `CodeEmbedder`, such as `codequarry.inference.runtime`."""

    @property
    def reason(self) -> str | None:
        """Why the last call went the stock way, as the end of a sentence; None where it did not."""

    @property
    def infer(self) -> Callable[..., torch.Tensor | None]:
        """Takes a model and the arguments of `_inference`; None for what the stock way has to compute."""


def binds_to(parent: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator for overrides of `parent`: called as it is, they receive its arguments by their names.

    So positional arguments, keywords, and the names that `parent` still takes with a warning all arrive the
    same way, and a check of one of them sees its value however it was passed. An override adds keywords of
    its own. Arguments that were not passed are not there.
    """
    signature = inspect.signature(parent)
    rest = next(name for name, one in signature.parameters.items() if one.kind is one.VAR_KEYWORD)
    own = inspect.Parameter("task", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="str | None")
    shown = list(signature.parameters.values())

    def decorate(override: Callable[..., Any]) -> Callable[..., Any]:
        @deprecated_kwargs(sentences="inputs")
        @wraps(override)
        def bound(*args: Any, **kwargs: Any) -> Any:
            given = dict(signature.bind(*args, **kwargs).arguments)
            return override(given.pop("self"), **given.pop(rest, {}), **given)

        bound.__signature__ = signature.replace(parameters=[*shown[:-1], own, shown[-1]])  # type: ignore[attr-defined]
        return bound

    return decorate


class CodeEmbedder(SentenceTransformer):
    """`SentenceTransformer` with `task=` on both sides, our module classes inside, stock ones when saved.

    Vectors are unit length, also after truncation to a Matryoshka dimension (sentence-transformers
    truncates after its Normalize module and leaves them shorter than 1).

    >>> model = codequarry.load("mini")
    >>> queries = model.encode_query(["parse a date"], task="nl2code")        # (1, 384)
    >>> documents = model.encode_document(["def parse(s): ..."], task="nl2code")
    """

    runtime: Runtime | None = None  # None: sentence-transformers' own way

    saves_stock_classes = True  # what refuse_other_containers looks for
    # Classes that sentence-transformers takes from here instead of importing them (private, read in 6.2.0):
    # the one of ours that a folder may name, since it has no stock class; and the one that must read more
    # files than the stock class does, under that one's newer and older name.
    _module_classes = {  # noqa: RUF012 (the parent's)
        f"{LatentAttentionPooling.__module__}.{LatentAttentionPooling.__name__}": LatentAttentionPooling,
        f"{StaticEmbedding.__module__}.StaticEmbedding": PromptedStaticEmbedding,
        "sentence_transformers.models.StaticEmbedding": PromptedStaticEmbedding,
    }

    def _post_init(self) -> None:
        # The end of `__init__`, where sentence-transformers' own families replace modules. It calls every
        # module's `on_model_ready` (private, read in 6.2.0; there is no public hook before that one).
        for module in self.children():
            if type(module) is Transformer:
                module.__class__ = InstructionPrefix
            elif type(module) is Pooling and module.pooling_mode == "lasttoken":
                module.__class__ = LastTokenPooling
        # torch gives the row at padding_idx no gradient. After training, transformers saves the pad token
        # into config.json and sets padding_idx on the next load; where pad and end-of-sequence are one
        # token, the token that last-token pooling reads would be frozen in every later stage.
        backbone = self.transformers_model
        if backbone is not None:
            setattr(backbone.get_input_embeddings(), "padding_idx", None)  # noqa: B010 (typed as a tensor)
        super()._post_init()

    @property  # type: ignore[misc]
    def config(self) -> Any:
        """The configuration of the backbone, or of a static model."""
        static = static_module(self)
        return super().config if static is None else static.config

    @property
    def matryoshka_dims(self) -> tuple[int, ...]:
        """The dimensions this model was trained to be truncated to, largest first; () when it was not."""
        config = self.config
        return tuple(getattr(config, "matryoshka_dimensions", None) or ()) if config is not None else ()

    @property
    def prompt_family(self) -> PromptFamily:
        """The family of this model's own prompts. Raises UserError for prompts that are none.

        >>> codequarry.load("mini").prompt_family.name
        'code'
        """
        return family_of(self.prompts)

    def check_dims(self, dims: int) -> None:
        """Raise UserError unless vectors of this model may be truncated to `dims` dimensions."""
        check_dim(dims, self._trained_dims)

    @property
    def _trained_dims(self) -> tuple[int | None, ...]:
        if self.matryoshka_dims:
            return self.matryoshka_dims
        whole = copy.copy(self)  # shares every module; the parent's answer is cut to truncate_dim
        whole.truncate_dim = None
        return (whole.get_embedding_dimension(),)

    @binds_to(SentenceTransformer.encode_query)
    def encode_query(self, *, task: str | None = None, **arguments: Any) -> Any:
        """Embed what is searched with: `(texts, dim)` unit vectors.

        Arguments: `task` is one of the five tasks; None means nl2code, the plain `query` prompt. The others
        are those of sentence-transformers' `encode_query`, in its order. Raises UserError for an unknown
        task, for a task together with a `prompt` or `prompt_name`, and as `encode` does.
        """
        return super().encode_query(**_with_prompt_name(task, "query", arguments))

    @binds_to(SentenceTransformer.encode_document)
    def encode_document(self, *, task: str | None = None, **arguments: Any) -> Any:
        """Embed what is searched for: `(texts, dim)` unit vectors. Arguments as in `encode_query`."""
        return super().encode_document(**_with_prompt_name(task, "document", arguments))

    @binds_to(SentenceTransformer.encode)
    def encode(self, *, task: str | None = None, **arguments: Any) -> Any:
        """sentence-transformers' `encode`, for callers that name the prompt themselves.

        Arguments are the parent's, in its order; `inputs` may be any sequence of strings, a column of a
        data frame too. A task has two sides, so `task=` alone is refused here. A model that has prompts and
        is given none warns: it was trained with prefixes and finds less without them. Vectors of no texts
        are `(0, dim)`.

        Raises UserError, before anything is embedded, for an empty text (see `empty_texts`), half a
        surrogate pair, what is no text, and a `truncate_dim` the model was not trained for.
        """
        if task is not None and task not in SIDES:  # the parent's encode_query passes the bare side
            name = get_task(task).name
            raise UserError(
                f"task {name!r} has two sides: call encode_query(texts, task={name!r}) for what is searched "
                f"with, or encode_document(texts, task={name!r}) for what is searched for."
            )
        prompt = self._prompt_of(arguments)
        named = prompt is not None or arguments.get("prompt_name") is not None
        if task is None and not named and any(self.prompts.values()):
            warnings.warn(
                "encode() without a prompt leaves the instruction prefix out: use encode_query or "
                'encode_document with task=…, or pass prompt="" to say that you mean it.',
                stacklevel=4,  # the caller's line: `binds_to` and its `deprecated_kwargs` are between
            )
        dims = arguments.get("truncate_dim")
        dims = self.truncate_dim if dims is None else dims
        if dims is not None:
            self.check_dims(dims)
            arguments["normalize_embeddings"] = True
        arguments["inputs"] = inputs = _batch_of(arguments["inputs"])
        texts = [inputs] if isinstance(inputs, str) else inputs
        if isinstance(texts, list) and isinstance(self[0], InstructionPrefix | PromptedStaticEmbedding):
            refuse_empty(texts, empty_texts(self, texts, prompt or ""))
        found = super().encode(task=task, **arguments)
        if isinstance(inputs, list) and not inputs:
            return _no_vectors(found, self.get_embedding_dimension() if dims is None else dims, arguments)
        if dims is not None and arguments.get("output_value", "") is None:
            for row in [found] if isinstance(found, dict) else found:  # the parent normalises other outputs
                row["sentence_embedding"] = normalize(row["sentence_embedding"], dim=-1)
        return found

    def _inference(self, inputs: Any, **arguments: Any) -> Any:
        # Private (read in 6.2.0): `encode` calls it with resolved arguments for what one process computes,
        # and quantises and converts what it returns.
        found = None if self.runtime is None else self.runtime.infer(self, inputs, **arguments)
        return super()._inference(inputs, **arguments) if found is None else found

    def _prompt_of(self, arguments: Mapping[str, Any]) -> str | None:
        """The prompt that the parent will put in front; None for none, and for a name that it will refuse."""
        if (prompt := arguments.get("prompt")) is not None:
            return str(prompt)
        name = arguments.get("prompt_name")
        name = self.default_prompt_name if name is None else name
        return None if name is None else self.prompts.get(name)

    def preprocess(
        self, inputs: Any, prompt: str | None = None, task: str | None = None, **kwargs: Any
    ) -> Any:
        """sentence-transformers' `preprocess`; a `task` without a prompt is the name of one of the model's.

        Arguments: `task`, such as `nl2code_query`, or the side alone (`query`, `document`), which
        `encode_query` passes with a prompt. Raises UserError for a name that the model has no prompt for.
        """
        if task is not None and prompt is None:
            if task not in self.prompts:
                names = sorted(self.prompts, key=lambda name: name in SIDES)  # plain `query`, `document` last
                raise UserError(f"{task!r} is not a prompt name: pass one of {', '.join(names)}.")
            prompt = self.prompts[task]
        if task is not None:
            kwargs["task"] = task
        return super().preprocess(inputs, prompt=prompt, **kwargs)

    def save(self, path: str, *args: Any, **kwargs: Any) -> None:
        """Save as sentence-transformers does, under its own class names, readable by older versions too."""
        super(CodeEmbedder, stock_view(self)).save(path, *args, **kwargs)
        static = static_module(self)
        if static is not None:
            complete_folder(Path(path), static)
        elif (Path(path) / "config.json").is_file():  # a model with an adapter saves the adapter only
            add_legacy_fields(Path(path) / "config.json")
        share_weights(Path(path))
        write_golden_sample(Path(path), self)

    def _create_model_card(self, path: str, *_: Any, **__: Any) -> None:
        """A short card without the network, or the one that is there; see `write_card`."""
        # Private, called by every save; the trainer (6.2.0) has no way to pass `create_model_card=False`.
        write_card(Path(path), self)

    @property
    def fingerprint(self) -> str:
        """See `fingerprint`. Computed at each call."""
        return fingerprint(self)


def fingerprint(model: SentenceTransformer) -> str:
    """sha256 over what determines a model's vectors: weights, tokenizer and its policy, modules, length.

    Argument: any `SentenceTransformer`. Not covered are the dimension it truncates to, device and arithmetic:
    a store of truncated vectors has to keep the dimension as well.

    >>> fingerprint(codequarry.load("mini")) == codequarry.load("mini").fingerprint
    True
    """
    static = static_module(model)
    if static is not None:
        return static.fingerprint
    modules: list[tuple[str, Mapping[str, object]]] = []
    for module in model.children():
        if isinstance(module, Pooling | LatentAttentionPooling):
            modules.append(("", module.get_config_dict()))
        elif not isinstance(module, Transformer | Normalize):  # these two have no other settings
            settings: dict[str, object] = getattr(module, "get_config_dict", dict)()
            modules.append((type(module).__name__, settings))
    tokenizer = model.tokenizer
    differing = ""
    if getattr(model, "config", None) is not None:
        config = model.config.to_dict()  # type: ignore[union-attr]
        causal = Attention.of(config).causal
        # Its family's own attention adds nothing, so that indexes made before this was covered still open.
        if causal != Attention.of({"model_type": config.get("model_type")}).causal:
            differing = f"causal {causal}"
    return digest(
        sorted(model.state_dict().items()),
        _tokenizer_state(tokenizer),
        getattr(tokenizer, "split_special_tokens", None),
        model.max_seq_length,
        modules,
        differing,
    )


def _tokenizer_state(tokenizer: Any) -> Any:
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(backend, "to_str"):
        return [type(backend).__name__, sorted(backend.get_vocab().items())]
    return tokenizer_state(backend.to_str())


def _with_prompt_name(task: str | None, side: Side, arguments: dict[str, Any]) -> dict[str, Any]:
    if task is None:
        return arguments
    if arguments.get("prompt_name") is not None or arguments.get("prompt") is not None:
        raise UserError(f"task={task!r} and a prompt were both given: pass one of the two.")
    return arguments | {"prompt_name": prompt_name(task, side)}


def _batch_of(inputs: Any) -> Any:
    """A list of what is more than one text; the parent takes a data frame's column for a single one."""
    if isinstance(inputs, np.ndarray) and inputs.ndim and (inputs.dtype.kind in "OU" or not inputs.size):
        return inputs.tolist()
    if isinstance(inputs, str | bytes | Mapping | list | np.ndarray | torch.Tensor):
        return inputs
    return list(inputs) if isinstance(inputs, Iterable) else inputs


def _no_vectors(found: Any, dims: int | None, arguments: Mapping[str, Any]) -> Any:
    """What the parent returns for no texts, `(0,)`, as `(0, dims)` of the type that texts would give."""
    precision = arguments.get("precision", "float32")
    columns = math.ceil((dims or 0) / 8) if precision in ("binary", "ubinary") else dims or 0
    kind = {"int8": "int8", "binary": "int8", "uint8": "uint8", "ubinary": "uint8"}.get(precision, "float32")
    if isinstance(found, np.ndarray):
        return np.zeros((0, columns), dtype=kind)
    if isinstance(found, torch.Tensor):
        return torch.zeros((0, columns), dtype=getattr(torch, kind), device=found.device)
    return found


def stock_view(module: Module) -> Module:
    """The same module for saving, in which every module of ours is of its stock class.

    Ours, and what contains them, are shallow copies that share all weights and settings; everything else is
    the same object. `module` itself is not changed, so other threads may encode with it or save it meanwhile.
    """
    if not any(hasattr(inner, "stock_class") for inner in module.modules()):
        return module
    if isinstance(module, PromptedStaticEmbedding):
        return cast(Module, module.stock_view())
    view = copy.copy(module)
    view._modules = {
        name: inner if inner is None else stock_view(inner) for name, inner in module._modules.items()
    }
    view.__class__ = getattr(module, "stock_class", type(module))
    return view


def add_legacy_fields(config_path: Path) -> None:
    """Add the transformers 4 spelling of every field that transformers 5 renamed; twice is harmless."""
    config: dict[str, Any] = read_json(config_path)
    rope: dict[str, Any] = config.get("rope_parameters") or {}
    if "rope_theta" in rope:
        config["rope_theta"] = rope["rope_theta"]
    if rope.get("rope_type", "default") != "default":
        config["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}
    if "dtype" in config:
        config["torch_dtype"] = config["dtype"]
    write_json(config_path, dict(sorted(config.items())))
