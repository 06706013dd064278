"""The entry of a model in MTEB's registry, read from its folder.

    from codequarry.integrations.mteb_model_meta import model_meta

    meta = model_meta("releases/mini", name="org/mini", revision="<commit>", release_date="2026-11-21")
    print(meta.to_python())  # what goes into mteb/models/model_implementations/

MTEB's wrapper loads the model with plain sentence-transformers and chooses prompts by the names of its own
tasks, so the entry has both prompts of every benchmark task in the table of `mteb.py`.
"""

import math
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codequarry.common.errors import UserError
from codequarry.common.files import read_json
from codequarry.integrations.mteb import BENCHMARK_TASKS
from codequarry.modules.backbone import EMBEDDED_BASE, SHIPPED
from codequarry.modules.static_files import is_static
from codequarry.modules.tasks import SIDES, PromptFamily, family_of

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta

_NEEDED = ("config.json", "config_sentence_transformers.json", "training.json", "README.md")
_OF_TRANSFORMERS = ("sentence_bert_config.json", "tokenizer_config.json")  # a static model has neither
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_LANGUAGES = {"en": "eng-Latn"}  # a card's language to MTEB's; it has none for source code in general
# Training sets of a base model by its own card that MTEB's entry for it lacks; MTEB adds those of the entry
# by `adapted_from`.
_BASE_DATA = {EMBEDDED_BASE: {"CodeSearchNetRetrieval", "COIRCodeSearchNetRetrieval"}}


def mteb_prompts(family: PromptFamily) -> dict[str, str]:
    """A family's prompts by the names MTEB looks up: `<benchmark task>-<side>`, and the two plain sides.

    >>> mteb_prompts(family)["StackOverflowQA-query"] == family.prefix("qa", "query")
    True
    """
    named = {
        f"{row.name}-{side}": family.prefix(row.task, side)
        for row in BENCHMARK_TASKS.values()
        if row.kind != "local"  # a key that is no task of MTEB's is refused
        for side in SIDES
    }
    return named | {side: family.prefix(family.default_task, side) for side in SIDES}


def model_meta(
    folder: str | Path, *, name: str, revision: str, release_date: str, **further: Any
) -> "ModelMeta":
    """The registry's entry of the release in `folder`.

    Arguments:
        folder: what `codequarry release build` wrote, or a finished run with a card.
        name, revision: the release on the Hub, `owner/model` and the commit.
        release_date: of that commit, as 2026-11-21.
        further: fields of `ModelMeta` that only the publisher knows, such as `public_training_code` or
            `contacts`.

    Sizes, dimensions, length, licence and base model are those of the folder; memory is that of the weights
    once loaded; training sets are those of its record, and those of its base where MTEB does not know them.
    Raises UserError for a folder that lacks any of it, and where MTEB is not installed.
    """
    try:
        from huggingface_hub import ModelCard
        from mteb.models.model_meta import ModelMeta
        from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper
    except ImportError as error:
        raise UserError("MTEB is not installed: pip install 'codequarry[benchmark]'") from error

    folder = Path(folder)
    static = is_static(folder)
    needed = _NEEDED if static else (*_NEEDED, *_OF_TRANSFORMERS)
    missing = [name for name in needed if not (folder / name).is_file()]
    if not list(folder.glob("model*.safetensors")):
        missing.append("model.safetensors")
    if missing:
        raise UserError(
            f"{folder} does not say all that MTEB asks: {', '.join(missing)} missing. "
            "Pass a folder that `codequarry release build` wrote."
        )
    config, card = read_json(folder / "config.json"), ModelCard.load(folder / "README.md").data.to_dict()
    dtype = config.get("dtype") or config.get("torch_dtype")
    if dtype not in _BYTES:
        raise UserError(f"{folder}/config.json has dtype {dtype!r}, not one of {', '.join(_BYTES)}.")
    length = math.inf if static else read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    family = family_of(read_json(folder / "config_sentence_transformers.json")["prompts"])
    shapes = list(_weight_shapes(folder))
    table = [config["vocab_size"], config["hidden_size"]]
    parameters = sum(prod(shape) for shape in shapes)
    fields: dict[str, Any] = {
        "loader": SentenceTransformerEncoderWrapper,
        "loader_kwargs": {"model_prompts": mteb_prompts(family)},
        "name": name,
        "revision": revision,
        "release_date": release_date,
        "reference": f"https://huggingface.co/{name}",
        "languages": [_LANGUAGES[one] for one in _as_list(card.get("language")) if one in _LANGUAGES],
        "n_parameters": parameters,
        "n_embedding_parameters": sum(prod(shape) for shape in shapes if shape == table),
        "memory_usage_mb": round(parameters * _BYTES[dtype] / 1024**2),
        "max_tokens": length or int(read_json(folder / "tokenizer_config.json")["model_max_length"]),
        "embed_dim": list(config.get("matryoshka_dimensions") or [config["hidden_size"]]),
        "license": card.get("license"),
        "open_weights": True,
        "public_training_code": None,
        "public_training_data": None,
        "framework": ["Sentence Transformers", "PyTorch", "safetensors"],
        "similarity_fn_name": "cosine",
        "use_instructions": True,
        "training_datasets": _seen(folder),
        "adapted_from": next(iter(_as_list(card.get("base_model"))), None),
    }
    return ModelMeta(**(fields | further))


def _seen(folder: Path) -> set[str]:
    """Benchmark tasks whose texts the model in `folder` or its base was trained on."""
    record = read_json(folder / "training.json")
    drawn = {str(row["source"]) for row in record.get("data", ()) if row.get("pairs_drawn") != 0}
    own = {
        row.name
        for row in BENCHMARK_TASKS.values()
        if row.kind != "local" and drawn & {row.name, *row.same_data}
    }
    backbone = record.get("recipe", {}).get("backbone") or {}
    if backbone.get("weights") == "random":
        start = (backbone.get("static") or {}).get("start")  # whose vectors of the tokens the rows began as
        return own | (_seen(SHIPPED[start]) if start in SHIPPED else set())
    base = str(backbone.get("name"))
    return own | (_seen(SHIPPED[base]) if base in SHIPPED else _BASE_DATA.get(base, set()))


def _weight_shapes(folder: Path) -> Iterable[list[int]]:
    from safetensors import safe_open

    files = [*sorted(folder.glob("model*.safetensors")), *sorted(folder.glob("*_Dense/model.safetensors"))]
    for shard in files:
        with safe_open(shard, framework="numpy") as weights:
            for key in weights.keys():  # noqa: SIM118 (not a dictionary)
                yield weights.get_slice(key).get_shape()


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []
