"""Build an embedding model from a backbone: tokenizer set right, its list of modules, prompts."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, get_args

from sentence_transformers.sentence_transformer import modules as stock
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling
from tokenizers import processors
from torch import nn
from transformers import PreTrainedTokenizerBase

from codequarry.common.errors import UserError
from codequarry.common.files import read_json
from codequarry.modules.backbone import resolve_backbone
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.gguf_backbone import RECORD, head_is_expected
from codequarry.modules.instruction_prefix import TEXT_ONLY, InstructionPrefix
from codequarry.modules.last_token_pooling import LastTokenPooling
from codequarry.modules.latent_attention_pooling import LatentAttentionPooling
from codequarry.modules.static_embedding import PromptedStaticEmbedding
from codequarry.modules.static_files import is_static
from codequarry.modules.tasks import DEFAULT_FAMILY, PromptFamily, get_family

PoolingName = Literal["lasttoken", "mean", "cls", "latentattention"]

# Tokens that families reserve for padding or that never occur in text, best first. Qwen2.5's pad token is its
# end-of-sequence; Llama has none.
_PAD_CANDIDATES = ("<|fim_pad|>", "<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<|pad|>", "<unk>")

_WITHOUT_MODULES = "To build new modules on its backbone, pass a copy of the folder without modules.json."


def build_model(
    backbone: str,
    *,
    pooling: PoolingName = "lasttoken",
    projections: Sequence[int] = (),
    max_length: int | None = None,
    dims: Sequence[int] = (),
    prompts: str | PromptFamily = DEFAULT_FAMILY,
    layers: int | None = None,
    dtype: str = "float32",
    revision: str | None = None,
    lock: Path | None = None,
    device: str | None = None,
) -> CodeEmbedder:
    """An untrained `CodeEmbedder` on any decoder or encoder that transformers loads.

        backbone → pooling → one Dense for each of `projections` → unit length

    A folder that sentence-transformers saved has modules of its own (`modules.json`): it keeps them with
    their weights, and `pooling` and `projections` must be theirs.

    Arguments:
        backbone, revision, lock: see `resolve_backbone`.
        pooling: `lasttoken` for decoders (Qwen2, Qwen3, Gemma, Llama), `mean` for encoders such as BERT and
            decoders that attend both ways, `cls` for encoders that were trained with it, `latentattention`
            for comparisons: it has weights of its own, and no release can hold it.
        projections: output dimensions of linear layers after the pooling, in order, without bias or
            activation (EmbeddingGemma has 3072, 768); () for none, or those of the backbone's folder.
        max_length: tokens, special tokens and prefix included; None keeps the tokenizer's own limit.
        dims: Matryoshka dimensions the model is going to be trained for, largest first; () for none.
        prompts: the prompt family, or the name of a registered one.
        layers: of the backbone, the first that are kept; None: all. A vector then costs so much less, and is
            computed from hidden states that the backbone was not made to give: train it.
        dtype: of the weights in memory: `float32`, `bfloat16` or `auto` (as stored).
        device: as in `SentenceTransformer`; None picks the fastest there is.

    Raises UserError when the backbone cannot be found or has no such number of layers, when its folder has
    other modules than `pooling` and `projections` say or modules that cannot be trained here, when `dims`
    does not start at the size of a vector, and when no family is called `prompts`.

    >>> build_model("Qwen/Qwen2.5-Coder-0.5B", max_length=512, dims=(896, 512, 256, 128, 64))
    """
    family = get_family(prompts) if isinstance(prompts, str) else prompts
    folder = resolve_backbone(backbone, revision=revision, lock=lock)
    if is_static(folder):
        if layers is not None:
            raise UserError(f"layers = {layers}: {folder} holds a static model, which has none.")
        return _static_model(folder, family, pooling, projections, max_length, dims, device)
    saved = _saved_modules(folder)
    weights = folder / saved[0][1] if saved else folder
    if max_length is None:  # a sentence-transformers folder has its own, often less than the tokenizer allows
        max_length = InstructionPrefix.load_config(str(weights)).get("max_seq_length")
    sides = {"padding_side": "right", "truncation_side": "right"}
    with head_is_expected(weights) if (weights / RECORD).is_file() else nullcontext():
        transformer = InstructionPrefix(
            str(weights),
            max_seq_length=max_length,
            modality_config=TEXT_ONLY,
            module_output_name="token_embeddings",
            model_kwargs={"dtype": dtype},
            processor_kwargs={"split_special_tokens": True, **sides},
        )
    _set_tokenizer(transformer.tokenizer)
    if layers is not None:
        keep_layers(transformer.model, layers)
    after = _kept_modules(folder, saved[1:]) if saved else []
    if after:
        _refuse_contradictions(folder, after, pooling, projections)
    else:
        after = _new_modules(pooling, transformer.get_embedding_dimension(), projections)
    if not isinstance(after[-1], Normalize):
        after.append(Normalize())
    sized = next(module for module in reversed(after) if hasattr(module, "get_embedding_dimension"))
    size = sized.get_embedding_dimension()
    config = transformer.model.config
    config.pad_token_id = transformer.tokenizer.pad_token_id
    if dims:
        _refuse_dims(dims, size)
        config.matryoshka_dimensions = list(dims)
    return CodeEmbedder(
        modules=[transformer, *after], prompts=family.prompts(), similarity_fn_name="cosine", device=device
    )


def keep_layers(backbone: Any, layers: int) -> None:
    """Keep the first `layers` of a transformer, in place; its last norm, if any, follows them.

    Raises UserError where it has fewer, or where its layers cannot be told from other modules.
    """
    config = backbone.config
    have = int(config.num_hidden_layers)
    found = [one for one in backbone.modules() if isinstance(one, nn.ModuleList) and len(one) == have]
    if not 1 <= layers <= have or len(found) != 1:
        raise UserError(
            f"layers = {layers}: the backbone has {have}, of which a number from 1 to {have} can be kept."
            if len(found) == 1
            else f"layers = {layers}: the layers of {type(backbone).__name__} are not one list."
        )
    del found[0][layers:]
    config.num_hidden_layers = layers
    for name in ("layer_types", "max_window_layers"):  # which say something of each layer
        value = getattr(config, name, None)
        if isinstance(value, list):
            setattr(config, name, value[:layers])
        elif isinstance(value, int):
            setattr(config, name, min(value, layers))


def _static_model(
    folder: Path,
    family: PromptFamily,
    pooling: PoolingName,
    projections: Sequence[int],
    max_length: int | None,
    dims: Sequence[int],
    device: str | None,
) -> CodeEmbedder:
    """The static model in a folder, to be trained further; its rows are float32 in memory."""
    if pooling != "mean" or projections or max_length is not None:
        raise UserError(
            f"{folder} holds a static model: the mean of a row per token, of whole texts. Say pooling = "
            "'mean', and leave projections and max_length out."
        )
    module = PromptedStaticEmbedding.load(str(folder))
    if dims:
        _refuse_dims(dims, module.embedding_dim)
        module.config.matryoshka_dimensions = list(dims)
    if set(family.prompts().values()) != set(_prompts_of(folder).values()):
        raise UserError(
            f"{folder} was trained with other prompts than the family {family.name!r}, and its tokenizer "
            "takes those off: train it further with its own."
        )
    return CodeEmbedder(
        modules=[module, Normalize()], prompts=family.prompts(), similarity_fn_name="cosine", device=device
    )


def _prompts_of(folder: Path) -> dict[str, str]:
    file = folder / "config_sentence_transformers.json"
    return dict(read_json(file).get("prompts") or {}) if file.is_file() else {}


def _refuse_dims(dims: Sequence[int], size: int) -> None:
    if list(dims) != sorted(set(dims), reverse=True) or dims[0] != size:
        raise UserError(
            f"matryoshka dims {tuple(dims)} must fall from {size}, the size of a vector (of the last "
            "projection where there is one, else of a hidden state): write "
            f"{size} first and each dimension once, e.g. [{size}, {size // 2}]."
        )


def _new_modules(pooling: PoolingName, hidden: int, projections: Sequence[int]) -> list[Any]:
    ours: dict[str, Any] = {"lasttoken": LastTokenPooling, "latentattention": LatentAttentionPooling}
    modules: list[Any] = [ours[pooling](hidden) if pooling in ours else Pooling(hidden, pooling)]
    for size in projections:
        modules.append(Dense(hidden, size, bias=False, activation_function=nn.Identity()))
        hidden = size
    return modules


def _saved_modules(folder: Path) -> list[tuple[str, str]]:
    """(class, folder below) of each module that sentence-transformers saved; [] for a bare backbone."""
    if not (folder / "modules.json").is_file():
        return []
    rows = read_json(folder / "modules.json")
    saved = [(str(row["type"]), str(row["path"])) for row in rows]
    for name, _ in saved:
        if not name.startswith("sentence_transformers.") and name not in CodeEmbedder._module_classes:
            raise UserError(
                f"{folder}/modules.json names {name}, a class that is not of sentence-transformers. "
                + _WITHOUT_MODULES
            )
    if not saved or _class(saved[0][0]) != "Transformer":
        raise UserError(
            f"{folder}/modules.json begins with {_class(saved[0][0]) if saved else 'no module'}: a model is "
            "built on a Transformer."
        )
    return saved


def _kept_modules(folder: Path, saved: Sequence[tuple[str, str]]) -> list[Any]:
    modules: list[Any] = []
    for name, path in saved:
        own_class: Any = CodeEmbedder._module_classes.get(name) or getattr(stock, _class(name), None)
        if own_class is None:
            raise UserError(
                f"{folder}/modules.json names {name}, which is no module of a SentenceTransformer. "
                + _WITHOUT_MODULES
            )
        modules.append(own_class.load(str(folder), subfolder=path, local_files_only=True))
    return modules


def _refuse_contradictions(
    folder: Path, modules: Sequence[Any], pooling: PoolingName, projections: Sequence[int]
) -> None:
    first = modules[0]
    if isinstance(first, LatentAttentionPooling):
        own = "latentattention"
    elif isinstance(first, Pooling):
        own = first.pooling_mode if isinstance(first.pooling_mode, str) else "+".join(first.pooling_mode)
        if not first.include_prompt:
            raise UserError(
                f"{folder} pools texts without their prompts (include_prompt is false), and codequarry's "
                f"models are trained with them. {_WITHOUT_MODULES}"
            )
    else:
        raise UserError(
            f"{folder} has {type(first).__name__} after its Transformer, and no pooling. {_WITHOUT_MODULES}"
        )
    if own != pooling:
        advice = f"Say pooling = {own!r}. " if own in get_args(PoolingName) else ""
        raise UserError(
            f"{folder} pools by {own}, and pooling = {pooling!r} was asked for: a model that is trained "
            f"further keeps its modules. {advice}{_WITHOUT_MODULES}"
        )
    sizes = [module.out_features for module in modules if isinstance(module, Dense)]
    if projections and list(projections) != sizes:
        raise UserError(
            f"{folder} has {f'Dense layers to {sizes}' if sizes else 'no Dense layer'}, and projections = "
            f"{list(projections)} were asked for: a model that is trained further keeps its modules. "
            f"Leave projections out. {_WITHOUT_MODULES}"
        )


def _class(name: str) -> str:
    return name.rpartition(".")[2]


def _set_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    """No chat template, an end-of-sequence after every text, and a pad token that is not that one."""
    tokenizer.chat_template = None
    if tokenizer.eos_token_id is not None and tokenizer.sep_token_id is None:
        _append_end_of_sequence(tokenizer)
        if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
            vocabulary = tokenizer.get_vocab()
            # Without a candidate the row is shared, and CodeEmbedder keeps its gradient.
            tokenizer.pad_token = next(
                (token for token in _PAD_CANDIDATES if token in vocabulary), tokenizer.eos_token
            )


def _append_end_of_sequence(tokenizer: Any) -> None:
    # Not by `add_eos_token=True`: transformers then builds the post-processor anew and drops the start token
    # of a tokenizer that has one. Every runtime reads one template with both.
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
