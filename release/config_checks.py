"""Is every field of a release what the layout promises? Read from the files, without loading the model."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

from codequarry.common.errors import UserError, some
from codequarry.common.files import read_json
from codequarry.modules.attention import Attention
from codequarry.modules.saved_weights import Shape, broken_tensors, wrong_tensors
from codequarry.modules.static_files import is_static
from codequarry.release.layout import (
    HANDLER,
    NORMALIZE,
    OWN_FIELDS,
    REQUIREMENTS,
    check_file_names,
    handler_source,
)
from codequarry.release.module_list import (
    ACTIVATIONS,
    DENSE_WEIGHTS,
    PLAIN,
    POOLING_FLAGS,
    STATIC_PLAIN,
    dense_layers,
    is_releasable,
    module_rows,
    places,
    pooling_modes,
)
from codequarry.release.server_requirements import TEI, VLLM, is_whole, shown, unmet_needs
from codequarry.release.static import check_static_files
from codequarry.release.tokenizer import is_known_field
from codequarry.release.trained_run import family_trained_with
from codequarry.release.weights import check_weight_files

Fields = dict[str, Any]

_POOLING, _BERT = "1_Pooling/config.json", "sentence_bert_config.json"
_PROMPTS, _TOKENIZER = "config_sentence_transformers.json", "tokenizer_config.json"
_OBJECTS = ("config.json", _POOLING, _PROMPTS, _BERT, _TOKENIZER, "training.json")

_OF_SENTENCE_TRANSFORMERS = {
    "__version__", "default_prompt_name", "model_type", "prompts", "requirements", "similarity_fn_name",
}  # fmt: skip
_VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc|\.dev|\.post)\d+)*(\+[\w.]+)?")
_OF_DENSE = {"in_features", "out_features", "bias", "activation_function"}


def check_fields(folder: Path) -> list[str]:
    """One sentence for each field that is not as the layout has it; [] for a release as it was built."""
    if is_static(folder):
        return _check_static_fields(folder)
    read = [_read(folder, name, dict) for name in _OBJECTS] + [_read(folder, "modules.json", list)]
    # A file that cannot be read need not have its fields listed as well, nor fields of a wrong type compared.
    if problems := [found for found in read if isinstance(found, str)]:
        return problems
    files: dict[str, Fields] = dict(zip(_OBJECTS, read[:-1], strict=True))
    config = files["config.json"]
    names = [str(row.get("type")).rpartition(".")[2] for row in read[-1] if isinstance(row, dict)]
    classes = (
        names if is_releasable(names) else [*PLAIN]
    )  # a list that no release can hold is a problem below
    problems = [*_modules(read[-1], classes), *_no_code(folder, files), *_no_chat_template(folder, files)]
    problems += check_file_names(folder, classes)
    dense = {
        path: _read(folder, f"{path}/config.json", dict) for name, path in places(classes) if name == "Dense"
    }
    if unread := [found for found in dense.values() if isinstance(found, str)]:
        return problems + unread
    if wrong := unmet_needs(files):
        return problems + wrong
    for check in (_pooling, _prompts, _sentence_transformers, _lengths, _tokenizer):
        problems += check(files)
    problems += _normalize(folder, classes)
    if wrong := list(_dense(folder, dense, config["hidden_size"])):
        return problems + wrong
    projections = [fields["out_features"] for fields in dense.values()]
    dims, full = config["matryoshka_dimensions"], [config["hidden_size"], *projections][-1]
    if dims[0] != full or dims != sorted(set(dims), reverse=True):
        problems.append(
            f"config.json has matryoshka_dimensions {dims}: they must fall, without repeats, from {full}."
        )
    problems += _as_trained(files, projections)
    problems += _old_spellings(config)
    problems += check_weight_files(folder, config)
    if files[_TOKENIZER].get("split_special_tokens") is not True:
        problems.append(
            "tokenizer_config.json has no split_special_tokens: true, so that a special token spelled out in "
            "source code becomes one."
        )
    return problems


_STATIC_OBJECTS = ("config.json", _PROMPTS, "training.json")


def _check_static_fields(folder: Path) -> list[str]:
    read = [_read(folder, name, dict) for name in _STATIC_OBJECTS] + [_read(folder, "modules.json", list)]
    read.append(_read(folder, "tokenizer.json", dict))
    if problems := [found for found in read if isinstance(found, str)]:
        return problems
    files: dict[str, Fields] = dict(zip(_STATIC_OBJECTS, read, strict=False)) | {_TOKENIZER: {}}
    problems = [
        *_modules(read[-2], [*STATIC_PLAIN]),
        *_no_code(folder, files),
        *_no_chat_template(folder, files),
    ]
    problems += check_file_names(folder, STATIC_PLAIN)
    if not isinstance(files[_PROMPTS].get("prompts"), dict):
        return [*problems, f"{_PROMPTS} has no prompts, texts by name."]
    problems += [*_prompts(files), *_sentence_transformers(files), *_normalize(folder, [*STATIC_PLAIN])]
    recipe = files["training.json"].get("recipe")
    if not isinstance(recipe, dict):
        return [*problems, "training.json does not hold the recipe of the training."]
    dims = files["config.json"].get("matryoshka_dimensions")
    if recipe.get("matryoshka_dims") != dims:
        problems.append(
            f"The recipe in training.json has matryoshka_dims {shown(recipe.get('matryoshka_dims'))}, the "
            f"release matryoshka_dimensions {shown(dims)}."
        )
    return problems + check_static_files(folder, files["config.json"])


def _read(folder: Path, name: str, kind: type) -> Any:
    """The value in a JSON file, or a sentence on why it cannot be read."""
    if not (folder / name).is_file():  # reading a pipe of that name might never end
        return f"{name} is missing, or not a file."
    try:
        value = read_json(folder / name)
    except (OSError, ValueError, RecursionError) as error:
        return f"{name} cannot be read ({type(error).__name__})."
    if not isinstance(value, kind):
        return f"{name} holds {shown(value)}, not a JSON {'object' if kind is dict else 'list'}."
    return value


def _modules(rows: list[Any], classes: list[str]) -> list[str]:
    found = [(str(row.get("type")), str(row.get("path"))) for row in rows if isinstance(row, dict)]
    layout = module_rows(places(classes))
    expected = [(str(row["type"]), str(row["path"])) for row in layout]
    problems = [
        f"modules.json names {name}, a class from elsewhere: sentence-transformers refuses "
        "the folder unless it may run remote code."
        for name, _ in found
        if not name.startswith("sentence_transformers.")
    ]
    problems += [
        f"modules.json lacks {name} (folder {path or '.'!r}); {VLLM} knows it by exactly this name."
        for name, path in expected
        if (name, path) not in found
    ]
    if problems:
        return problems
    if found != expected or len(rows) != len(found):
        return [f"modules.json holds {shown(rows)}: other modules than the layout, or in another order."]
    return [
        f"modules.json has {shown(row)} where the layout has {json.dumps(wanted)}."
        for row, wanted in zip(rows, layout, strict=True)
        if row != wanted
    ]


def _pooling(files: dict[str, Fields]) -> Iterator[str]:
    pooling, config = files[_POOLING], files["config.json"]
    causal, modes = Attention.of(config).causal, pooling_modes(pooling)
    width = pooling.get("word_embedding_dimension")
    if len(modes) != 1:
        yield f"{_POOLING} switches on {', '.join(modes) or 'no mode'}; exactly one is read."
    elif (modes == ["lasttoken"]) != causal or causal != bool(config.get("is_causal")):
        yield (
            f"{_POOLING} pools by {modes[0]}, while config.json has is_causal "
            f"{json.dumps(config.get('is_causal'))} and its attention is "
            f"{'causal' if causal else 'bidirectional'}: a model with causal attention, and no other, pools "
            "its last token and says is_causal true."
        )
    if width != config["hidden_size"]:
        yield (
            f"{_POOLING} has word_embedding_dimension {shown(width)}, config.json hidden_size "
            f"{config['hidden_size']}."
        )
    if pooling.get("include_prompt") is not True:
        yield f"{_POOLING} has no include_prompt: true; the prompt is part of every vector."
    known = {"word_embedding_dimension", "include_prompt", *POOLING_FLAGS.values()}
    if lacking := sorted(known - pooling.keys()):
        yield f"{_POOLING} lacks {', '.join(lacking)}; readers differ in what they take instead."
    if odd := sorted(
        flag for flag in POOLING_FLAGS.values() if not isinstance(pooling.get(flag, False), bool)
    ):
        yield f"{_POOLING} has {odd[0]} {shown(pooling[odd[0]])}, not true or false."
    if unknown := sorted(pooling.keys() - known):
        yield (
            f"{_POOLING} has {', '.join(unknown)} beside the flags: some readers take one, some the other."
        )


def _prompts(files: dict[str, Fields]) -> list[str]:
    saved = files[_PROMPTS]["prompts"]
    try:
        trained = family_trained_with(files["training.json"]).prompts()
    except UserError as error:
        return [f"The recipe in training.json: {error}"]
    return [
        f"{_PROMPTS}: prompt {key} is {json.dumps(saved.get(key))}, the task's is "
        f"{json.dumps(trained.get(key))}."
        for key in sorted(saved.keys() | trained)
        if saved.get(key) != trained.get(key)
    ]


def _sentence_transformers(files: dict[str, Fields]) -> Iterator[str]:
    config = files[_PROMPTS]
    if config.get("default_prompt_name") is not None:
        yield f"{_PROMPTS} has default_prompt_name, which would put one side's prompt on both."
    for field, value in (("similarity_fn_name", "cosine"), ("model_type", "SentenceTransformer")):
        if config.get(field) != value:
            yield f"{_PROMPTS} has {field} {shown(config.get(field))}, not {json.dumps(value)}."
    if different := sorted(config.keys() ^ _OF_SENTENCE_TRANSFORMERS):
        yield f"{_PROMPTS} and the layout differ in whether there is {', '.join(different)}."
    if config.get("requirements") != REQUIREMENTS:
        yield (
            f"{_PROMPTS} has requirements {shown(config.get('requirements'))}, not {shown(REQUIREMENTS)}: "
            "it was edited, or another version of codequarry built the release (its card names it)."
        )
    versions = config.get("__version__")
    if not isinstance(versions, dict) or not (
        versions.keys() == {"sentence_transformers", "transformers", "pytorch"}
        and all(isinstance(version, str) and _VERSION.fullmatch(version) for version in versions.values())
    ):
        yield f"{_PROMPTS} has __version__ {shown(versions)}, not the three versions that wrote it."


def _lengths(files: dict[str, Fields]) -> Iterator[str]:
    bert, positions = files[_BERT], files["config.json"]["max_position_embeddings"]
    length, default = bert["max_seq_length"], files[_TOKENIZER].get("model_max_length")
    if set(bert) != {"max_seq_length", "do_lower_case"}:
        yield (
            f"{_BERT} has {', '.join(sorted(bert))}; older readers take only max_seq_length and "
            "do_lower_case."
        )
    if default != length:
        yield f"{_TOKENIZER} has model_max_length {shown(default)}, {_BERT} max_seq_length {length}."
    if length > positions:
        yield f"{_BERT} has max_seq_length {length}, more than the {positions} positions in config.json."


def _normalize(folder: Path, classes: list[str]) -> Iterator[str]:
    for kind, path in places(classes):
        if kind == "Normalize" and (found := _read(folder, f"{path}/config.json", dict)) != NORMALIZE:
            what = found if isinstance(found, str) else f"{path}/config.json has {shown(found)},"
            yield (
                f"{what} where the layout has {json.dumps(NORMALIZE)}: vectors would not be brought to "
                "length 1, or others would."
            )


def _tokenizer(files: dict[str, Fields]) -> Iterator[str]:
    config = files[_TOKENIZER]
    if unknown := sorted(name for name in config if not is_known_field(name)):
        yield f"{_TOKENIZER} has {', '.join(unknown)}, not written by a release: some reader may follow it."
    for name, value in config.items():
        plain = isinstance(value, dict) and isinstance(value.get("content"), str)  # a token with its settings
        if name.endswith("_token") and not name.startswith("add_") and not (isinstance(value, str) or plain):
            yield f"{_TOKENIZER} has {name} {shown(value)}, not a token."


def _dense(folder: Path, layers: dict[str, Fields], width: int) -> Iterator[str]:
    """layers: the fields of each Dense layer by its folder, in order. width: dimensions of its input."""
    for path, fields in layers.items():
        name = f"{path}/config.json"
        if different := sorted(fields.keys() ^ _OF_DENSE):
            yield f"{name} and the layout differ in whether there is {', '.join(different)}."
            continue
        if fields["in_features"] != width:
            yield f"{name} has in_features {shown(fields['in_features'])}, and is given vectors of {width}."
        if not is_whole(fields["out_features"]) or not isinstance(fields["bias"], bool):
            yield (
                f"{name} has out_features {shown(fields['out_features'])} and bias {shown(fields['bias'])}, "
                "not a whole number and true or false."
            )
        if fields["activation_function"] not in ACTIVATIONS:
            yield (
                f"{name} has activation_function {shown(fields['activation_function'])}: {TEI} knows "
                f"{' and '.join(ACTIVATIONS)} alone."
            )
        if not (folder / path / DENSE_WEIGHTS).is_file():
            yield f"{path}/{DENSE_WEIGHTS} is missing."
        width = fields["out_features"]


def _as_trained(files: dict[str, Fields], projections: list[int]) -> list[str]:
    recipe = files["training.json"].get("recipe")
    if not isinstance(recipe, dict):
        return ["training.json does not hold the recipe of the training."]
    released = [
        ("max_length", "max_seq_length", files[_BERT]["max_seq_length"]),
        ("matryoshka_dims", "matryoshka_dimensions", files["config.json"]["matryoshka_dimensions"]),
        *(("pooling", "pooling mode", mode) for mode in pooling_modes(files[_POOLING])[:1]),
        ("projections", "Dense layers to", projections),
    ]
    if not recipe.get("projections"):  # then the model keeps those of its backbone
        released.pop()
    return [
        f"The recipe in training.json has {name} {shown(recipe[name])}, the release {called} {shown(found)}."
        for name, called, found in released
        if recipe.get(name) not in (None, found)
    ]


def _old_spellings(config: Fields) -> Iterator[str]:
    theta = (config.get("rope_parameters") or {}).get("rope_theta")
    if config.get("rope_theta") != theta:
        yield (
            f"config.json has rope_theta {shown(config.get('rope_theta'))} beside rope_parameters.rope_theta "
            f"{theta}: transformers 4 reads the first (10,000 where it is absent), transformers 5 the second."
        )
    if config.get("torch_dtype") != config.get("dtype"):
        yield (
            f"config.json has torch_dtype {shown(config.get('torch_dtype'))} beside dtype "
            f"{shown(config.get('dtype'))}."
        )
    if config.get("use_cache") is not False:
        yield "config.json has no use_cache: false; an embedding needs no cache."


def _no_code(folder: Path, files: dict[str, Fields]) -> Iterator[str]:
    for name in ("config.json", _TOKENIZER):
        for field in ("auto_map", "custom_pipelines", "trust_remote_code"):
            if field in files[name]:
                yield f"{name} has {field}, which makes readers run remote code."
    scripts = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.py"))]
    for name in scripts:
        if name != HANDLER:
            yield f"{name} is code; a release holds none but {HANDLER}."
    ours = folder / HANDLER
    if HANDLER in scripts and not (ours.is_file() and ours.read_bytes() == handler_source().read_bytes()):
        yield (
            f"{HANDLER} is not that of the codequarry installed here, and an inference endpoint would run "
            "it: read it, or verify with the version that built the release, which its card names."
        )


def _no_chat_template(folder: Path, files: dict[str, Fields]) -> list[str]:
    found = sorted(path.name for path in folder.rglob("*chat_template*"))
    found += ["tokenizer_config.json (chat_template)"] if "chat_template" in files[_TOKENIZER] else []
    return [
        f"{name} is a chat template: sentence-transformers 6 would wrap every text in it." for name in found
    ]


def check_backbone(folder: Path) -> list[str]:
    """One sentence for each way in which the tensors are not those of the configured model, and for NaN.

    Each Dense layer after the pooling is compared with its own configuration.

    Raises what transformers raises on a configuration that it cannot read.
    """
    if is_static(folder):
        return []  # `check_fields` has looked at its rows
    import torch
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    with torch.device("meta"):  # shapes only: no memory, no time
        model = AutoModel.from_config(config)
    if [type(model).__name__] != config.architectures:
        return [
            f"config.json has architectures {config.architectures}, and its model_type "
            f"{config.model_type!r} is a {type(model).__name__}."
        ]
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    problems = [
        *_unknown_fields(folder, config),
        *_check_tensors(sorted(folder.glob("*.safetensors")), wanted),
    ]
    for layer in dense_layers(folder):
        found = _check_tensors([folder / layer.path / DENSE_WEIGHTS], layer.shapes)
        problems += [f"{layer.path}: {problem}" for problem in found]
    return problems


def _unknown_fields(folder: Path, config: Any) -> Iterator[str]:
    """What a model's class does not know of: no reader of ours follows it, another may."""
    written = read_json(folder / "config.json")
    known = type(config)().to_dict()
    if unknown := sorted(written.keys() - known.keys() - OWN_FIELDS):
        yield (
            f"config.json has {', '.join(unknown)}, which a {config.model_type} model does not know: some "
            "reader may follow it."
        )
    for name in sorted(written.keys() & known.keys() - OWN_FIELDS):
        usual = known[name]
        kinds = (int, float) if type(usual) in (int, float) else (type(usual),)
        if not isinstance(usual, NoneType) and not isinstance(written[name], (*kinds, NoneType)):
            yield f"config.json has {name} {shown(written[name])}, where the like of {shown(usual)} belongs."


def _check_tensors(files: Sequence[Path], wanted: Mapping[str, Shape]) -> Iterator[str]:
    from safetensors import safe_open

    held: dict[str, Shape] = {}
    broken = []
    for path in files:
        with safe_open(path, framework="pt") as weights:
            if weights.metadata() != {"format": "pt"}:
                yield f"{path.name} has metadata {shown(weights.metadata())}, not {{'format': 'pt'}}."
            for name in weights.keys():  # noqa: SIM118
                tensor = weights.get_tensor(name)
                held[name] = tuple(tensor.shape)
                broken += broken_tensors({name: tensor})
    yield from wrong_tensors(held, wanted)
    if broken:
        yield f"The weights hold NaN or infinity, in {some(broken, 3)}."
