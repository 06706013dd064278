"""Is every field of a release what the layout promises? Read from the files, without loading the model."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codequarry.modules.attention import Attention
from codequarry.release.layout import HANDLER, check_file_names, handler_source
from codequarry.release.module_list import (
    ACTIVATIONS,
    DENSE_WEIGHTS,
    LEGACY_PREFIX,
    PLAIN,
    POOLING_FLAGS,
    dense_layers,
    is_releasable,
    places,
)
from codequarry.release.server_requirements import TEI, VLLM, is_whole, shown, unmet_needs
from codequarry.release.trained_run import family_trained_with
from codequarry.release.weights import check_weight_files

Fields = dict[str, Any]

_OBJECTS = (
    "config.json",
    "1_Pooling/config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "tokenizer_config.json",
    "training.json",
)

_OF_SENTENCE_TRANSFORMERS = {
    "__version__",
    "default_prompt_name",
    "model_type",
    "prompts",
    "requirements",
    "similarity_fn_name",
}


def check_fields(folder: Path) -> list[str]:
    """One sentence for each field that is not as the layout has it; [] for a release as it was built."""
    read = [_read(folder, name, dict) for name in _OBJECTS] + [_read(folder, "modules.json", list)]
    # What a file that cannot be read lacks need not be listed as well, nor how fields of a wrong type agree.
    if problems := [found for found in read if isinstance(found, str)]:
        return problems
    files: dict[str, Fields] = dict(zip(_OBJECTS, read[:-1], strict=True))
    config, tokenizer = files["config.json"], files["tokenizer_config.json"]
    classes = _classes(read[-1])
    problems = _modules(read[-1], classes) + _no_code(folder, files) + _no_chat_template(folder, tokenizer)
    problems += check_file_names(folder, classes)
    dense = {
        path: _read(folder, f"{path}/config.json", dict) for name, path in places(classes) if name == "Dense"
    }
    if unread := [found for found in dense.values() if isinstance(found, str)]:
        return problems + unread
    if wrong := unmet_needs(files):
        return problems + wrong
    problems += _pooling(files["1_Pooling/config.json"], config)
    problems += _prompts(files)
    problems += _sentence_transformers(files["config_sentence_transformers.json"])
    problems += _lengths(files["sentence_bert_config.json"], tokenizer, config)
    if wrong := _dense(folder, dense, config["hidden_size"]):
        return problems + wrong
    sizes = [fields["out_features"] for fields in dense.values()]
    problems += _dims(config, sizes[-1] if sizes else config["hidden_size"])
    problems += _as_trained(files, sizes)
    problems += _old_spellings(config)
    problems += check_weight_files(folder, config)
    if tokenizer.get("split_special_tokens") is not True:
        problems.append(
            "tokenizer_config.json has no split_special_tokens: true, so that a special token spelled out in "
            "source code becomes one."
        )
    return problems


def _read(folder: Path, name: str, kind: type) -> Any:
    """The value in a file of JSON, or a sentence on why it cannot be read."""
    if not (folder / name).is_file():  # anything else that has the name might never end
        return f"{name} is missing, or not a file."
    try:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return f"{name} cannot be read ({type(error).__name__})."
    if not isinstance(value, kind):
        return f"{name} holds {shown(value)}, not a JSON {'object' if kind is dict else 'list'}."
    return value


def _classes(rows: list[Any]) -> list[str]:
    """The modules' classes, without their package, where a release can hold them; else those of most."""
    names = [str(row.get("type")).rpartition(".")[2] for row in rows if isinstance(row, dict)]
    return names if is_releasable(names) else [*PLAIN]


def _modules(rows: list[Any], classes: list[str]) -> list[str]:
    problems = []
    found = [(str(row.get("type")), str(row.get("path"))) for row in rows if isinstance(row, dict)]
    for name, _ in found:
        if not name.startswith("sentence_transformers."):
            problems.append(
                f"modules.json names {name}, a class from elsewhere: sentence-transformers refuses "
                "the folder unless it may run remote code."
            )
    expected = [(LEGACY_PREFIX + name, path) for name, path in places(classes)]
    problems += [
        f"modules.json lacks {name} (folder {path or '.'!r}); {VLLM} knows it by exactly this name."
        for name, path in expected
        if (name, path) not in found
    ]
    if problems:
        return problems
    if found != expected or len(rows) != len(found):
        return [f"modules.json holds {shown(rows)}: other modules than the layout, or in another order."]
    layout = [
        {"idx": index, "name": str(index), "path": path, "type": name}
        for index, (name, path) in enumerate(expected)
    ]
    return [
        f"modules.json has {shown(row)} where the layout has {json.dumps(wanted)}."
        for row, wanted in zip(rows, layout, strict=True)
        if row != wanted
    ]


def _pooling(pooling: Fields, config: Fields) -> list[str]:
    problems = []
    causal = Attention.of(config).causal
    modes, width = _modes(pooling), pooling.get("word_embedding_dimension")
    if len(modes) != 1:
        problems.append(
            f"1_Pooling/config.json switches on {', '.join(modes) or 'no mode'}; exactly one is read."
        )
    elif (modes == ["lasttoken"]) != causal or causal != bool(config.get("is_causal")):
        problems.append(
            f"1_Pooling/config.json pools by {modes[0]}, while config.json has is_causal "
            f"{json.dumps(config.get('is_causal'))} and its attention is "
            f"{'causal' if causal else 'bidirectional'}: a model with causal attention, and no other, pools "
            "its last token and says is_causal true."
        )
    if width != config["hidden_size"]:
        problems.append(
            f"1_Pooling/config.json has word_embedding_dimension {shown(width)}, config.json hidden_size "
            f"{config['hidden_size']}."
        )
    if pooling.get("include_prompt") is not True:
        problems.append(
            "1_Pooling/config.json has no include_prompt: true; the prompt is part of every vector."
        )
    known = {"word_embedding_dimension", "include_prompt", *POOLING_FLAGS.values()}
    if unknown := sorted(pooling.keys() - known):
        problems.append(
            f"1_Pooling/config.json has {', '.join(unknown)} beside the flags: some readers take one, some "
            "the other."
        )
    return problems


def _modes(pooling: Fields) -> list[str]:
    return [mode for mode, flag in POOLING_FLAGS.items() if pooling.get(flag)]


def _sentence_transformers(config: Fields) -> list[str]:
    name = "config_sentence_transformers.json"
    problems = []
    if config.get("default_prompt_name") is not None:
        problems.append(f"{name} has default_prompt_name, which would put one side's prompt on both.")
    problems += [
        f"{name} has {field} {shown(config.get(field))}, not {json.dumps(value)}."
        for field, value in (("similarity_fn_name", "cosine"), ("model_type", "SentenceTransformer"))
        if config.get(field) != value
    ]
    if different := sorted(config.keys() ^ _OF_SENTENCE_TRANSFORMERS):
        problems.append(f"{name} and the layout differ in whether there is {', '.join(different)}.")
    return problems


def _prompts(files: dict[str, Fields]) -> list[str]:
    name = "config_sentence_transformers.json"
    saved = files[name]["prompts"]
    try:
        trained = family_trained_with(files["training.json"]).prompts()
    except ValueError as error:
        return [f"The recipe in training.json: {error}"]
    return [
        f"{name}: prompt {key} is {json.dumps(saved.get(key))}, the task's is {json.dumps(trained.get(key))}."
        for key in sorted(saved.keys() | trained)
        if saved.get(key) != trained.get(key)
    ]


def _lengths(bert: Fields, tokenizer: Fields, config: Fields) -> list[str]:
    problems, length, positions = [], bert["max_seq_length"], config["max_position_embeddings"]
    if set(bert) != {"max_seq_length", "do_lower_case"}:
        problems.append(
            f"sentence_bert_config.json has {', '.join(sorted(bert))}; older readers take only "
            "max_seq_length and do_lower_case."
        )
    if tokenizer.get("model_max_length") != length:
        problems.append(
            f"tokenizer_config.json has model_max_length {shown(tokenizer.get('model_max_length'))}, "
            f"sentence_bert_config.json max_seq_length {length}."
        )
    if length > positions:
        problems.append(
            f"sentence_bert_config.json has max_seq_length {length}, more than the "
            f"{positions} positions in config.json."
        )
    return problems


def _dense(folder: Path, layers: dict[str, Fields], width: int) -> list[str]:
    """layers: the fields of each Dense layer by its folder, in order; width: dimensions it is given."""
    problems = []
    for path, fields in layers.items():
        name = f"{path}/config.json"
        if different := sorted(
            fields.keys() ^ {"in_features", "out_features", "bias", "activation_function"}
        ):
            problems.append(f"{name} and the layout differ in whether there is {', '.join(different)}.")
            continue
        if fields["in_features"] != width:
            problems.append(
                f"{name} has in_features {shown(fields['in_features'])}, and is given vectors of {width}."
            )
        if not is_whole(fields["out_features"]) or not isinstance(fields["bias"], bool):
            problems.append(
                f"{name} has out_features {shown(fields['out_features'])} and bias {shown(fields['bias'])}, "
                "not a whole number and true or false."
            )
        if fields["activation_function"] not in ACTIVATIONS:
            problems.append(
                f"{name} has activation_function {shown(fields['activation_function'])}: {TEI} knows "
                f"{' and '.join(ACTIVATIONS)} alone."
            )
        if not (folder / path / DENSE_WEIGHTS).is_file():
            problems.append(f"{path}/{DENSE_WEIGHTS} is missing.")
        width = fields["out_features"]
    return problems


def _dims(config: Fields, full: int) -> list[str]:
    dims = config["matryoshka_dimensions"]
    if dims[0] == full and dims == sorted(set(dims), reverse=True):
        return []
    return [f"config.json has matryoshka_dimensions {dims}: they must fall, without repeats, from {full}."]


def _as_trained(files: dict[str, Fields], projections: list[int]) -> list[str]:
    recipe = files["training.json"].get("recipe")
    if not isinstance(recipe, dict):
        return ["training.json does not hold the recipe of the training."]
    released = (
        ("max_length", "max_seq_length", files["sentence_bert_config.json"]["max_seq_length"]),
        ("matryoshka_dims", "matryoshka_dimensions", files["config.json"]["matryoshka_dimensions"]),
        ("pooling", "pooling mode", *_modes(files["1_Pooling/config.json"])[:1]),
        # A recipe without projections keeps those of its backbone.
        *([("projections", "Dense layers to", projections)] if recipe.get("projections") else []),
    )
    return [
        f"The recipe in training.json has {name} {shown(recipe[name])}, the release {called} "
        f"{shown(found[0])}."
        for name, called, *found in released
        if found and recipe.get(name) not in (None, found[0])
    ]


def _old_spellings(config: Fields) -> list[str]:
    problems = []
    theta = (config.get("rope_parameters") or {}).get("rope_theta")
    if config.get("rope_theta") != theta:
        problems.append(
            f"config.json has rope_theta {shown(config.get('rope_theta'))} beside rope_parameters.rope_theta "
            f"{theta}: transformers 4 reads the first (10,000 where it is absent), transformers 5 the second."
        )
    if config.get("torch_dtype") != config.get("dtype"):
        problems.append(
            f"config.json has torch_dtype {shown(config.get('torch_dtype'))} beside dtype "
            f"{shown(config.get('dtype'))}."
        )
    if config.get("use_cache") is not False:
        problems.append("config.json has no use_cache: false; an embedding needs no cache.")
    return problems


def _no_code(folder: Path, files: dict[str, Fields]) -> list[str]:
    keyed = [name for name in ("config.json", "tokenizer_config.json") if "auto_map" in files[name]]
    scripts = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.py"))}
    handler = scripts.pop(HANDLER, None)
    problems = [f"{name} has auto_map, which makes readers run remote code." for name in keyed]
    problems += [f"{name} is code; a release holds none but {HANDLER}." for name in scripts]
    if handler is not None and not _is_ours(handler):
        problems.append(
            f"{HANDLER} is not that of the codequarry installed here, and an inference endpoint would run "
            "it: read it, or verify with the version that built the release, which its card names."
        )
    return problems


def _is_ours(handler: Path) -> bool:
    return handler.is_file() and handler.read_bytes() == handler_source().read_bytes()


def _no_chat_template(folder: Path, tokenizer: Fields) -> list[str]:
    found = sorted(path.name for path in folder.rglob("*chat_template*"))
    found += ["tokenizer_config.json (chat_template)"] if "chat_template" in tokenizer else []
    return [
        f"{name} is a chat template: sentence-transformers 6 would wrap every text in it." for name in found
    ]


Shape = tuple[int, ...]

_PIECE = 1 << 24  # numbers looked at together


def check_backbone(folder: Path) -> list[str]:
    """One sentence for each way in which the tensors are not those of the configured model, and for NaN.

    The Dense layers after the pooling are looked at too, each against its own configuration.

    Raises what transformers raises on a configuration that it cannot read.
    """
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
    problems = _check_tensors(sorted(folder.glob("*.safetensors")), wanted)
    for layer in dense_layers(folder):
        found = _check_tensors([folder / layer.path / DENSE_WEIGHTS], layer.shapes)
        problems += [f"{layer.path}: {problem}" for problem in found]
    return problems


def _check_tensors(files: Sequence[Path], wanted: Mapping[str, Shape]) -> list[str]:
    held: dict[str, Shape] = {}
    broken = []
    for name, tensor in _tensors(files):
        held[name] = tuple(tensor.shape)
        if tensor.is_floating_point() and not all(
            bool(piece.isfinite().all()) for piece in tensor.flatten().split(_PIECE)
        ):
            broken.append(name)
    problems = _differences(wanted, held)
    if broken:
        problems.append(f"The weights hold NaN or infinity, in {_some(broken)}.")
    return problems


def _tensors(files: Sequence[Path]) -> Iterator[tuple[str, Any]]:
    from safetensors import safe_open

    for path in files:
        with safe_open(path, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118
                yield name, weights.get_tensor(name)


def _differences(wanted: Mapping[str, Shape], held: Mapping[str, Shape]) -> list[str]:
    problems = []
    if lacking := sorted(wanted.keys() - held.keys()):
        problems.append(
            f"The weights lack {_some(lacking)}, of the {len(wanted)} tensors that config.json asks for: a "
            "library would draw them at random."
        )
    if unknown := sorted(held.keys() - wanted.keys()):
        problems.append(
            f"The weights hold {_some(unknown)}, for which config.json has no place: a library would drop "
            "them."
        )
    problems += [
        f"The weights hold {name} of shape {list(held[name])}, config.json asks for {list(wanted[name])}."
        for name in sorted(wanted.keys() & held.keys())
        if wanted[name] != held[name]
    ]
    return problems


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
