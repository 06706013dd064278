"""Is every field of a release what the layout promises? Read from the files, without loading the model."""

import json
from pathlib import Path
from typing import Any

from codequarry.modules.tasks import prompts
from codequarry.release.hub_handler import HANDLER, handler_source
from codequarry.release.layout import LEGACY_PREFIX, MODULES
from codequarry.release.run_folder import POOLING_FLAGS
from codequarry.release.weights import check_weight_files


class _Files(dict[str, Any]):
    """The JSON files of a folder by name, {} and a problem where one cannot be read."""

    def __init__(self, folder: Path, problems: list[str]) -> None:
        super().__init__()
        self.folder, self.problems = folder, problems

    def __missing__(self, name: str) -> Any:
        try:
            self[name] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            self.problems.append(f"{name} cannot be read ({type(error).__name__}).")
            self[name] = {}
        return self[name]


def check_fields(folder: Path) -> list[str]:
    """One sentence for each field that is not as the layout has it; [] for a release as it was built."""
    problems: list[str] = []
    files = _Files(folder, problems)
    problems += _modules(files["modules.json"])
    problems += _pooling(files["1_Pooling/config.json"], files["config.json"])
    problems += _prompts(files["config_sentence_transformers.json"])
    problems += _lengths(
        files["sentence_bert_config.json"], files["tokenizer_config.json"], files["config.json"]
    )
    problems += _dims(files["config.json"])
    problems += _old_spellings(files["config.json"])
    problems += check_weight_files(folder, files["config.json"])
    problems += _no_code(folder, files)
    problems += _no_chat_template(folder, files["tokenizer_config.json"])
    if files["tokenizer_config.json"].get("split_special_tokens") is not True:
        problems.append(
            "tokenizer_config.json has no split_special_tokens: true, so that a special token spelled out in "
            "source code becomes one."
        )
    return problems


def _modules(rows: Any) -> list[str]:
    problems = []
    found = [(str(row.get("type")), str(row.get("path"))) for row in rows if isinstance(row, dict)]
    for name, _ in found:
        if not name.startswith("sentence_transformers."):
            problems.append(
                f"modules.json names {name}, a class from elsewhere: sentence-transformers refuses "
                "the folder unless it may run remote code."
            )
    expected = [(LEGACY_PREFIX + name, path) for name, path in MODULES]
    problems += [
        f"modules.json lacks {name} (folder {path or '.'!r})."
        for name, path in expected
        if (name, path) not in found
    ]
    if not problems and found != expected:
        problems.append(f"modules.json holds {', '.join(name for name, _ in found)}, in that order.")
    return problems


def _pooling(pooling: dict[str, Any], config: dict[str, Any]) -> list[str]:
    problems = []
    modes = [mode for mode, flag in POOLING_FLAGS.items() if pooling.get(flag)]
    absent = [flag for flag in POOLING_FLAGS.values() if flag not in pooling]
    if absent:
        problems.append(f"1_Pooling/config.json lacks {', '.join(absent)}, which other servers require.")
    if len(modes) != 1:
        problems.append(
            f"1_Pooling/config.json switches on {', '.join(modes) or 'no mode'}; exactly one is read."
        )
    elif (modes == ["lasttoken"]) != bool(config.get("is_causal")):
        problems.append(
            f"1_Pooling/config.json pools by {modes[0]}, while config.json has is_causal "
            f"{json.dumps(config.get('is_causal'))}: a decoder, and only a decoder, pools its last token."
        )
    if pooling.get("word_embedding_dimension") != config.get("hidden_size"):
        problems.append(
            f"1_Pooling/config.json has word_embedding_dimension {pooling.get('word_embedding_dimension')}, "
            f"config.json hidden_size {config.get('hidden_size')}."
        )
    if pooling.get("include_prompt") is not True:
        problems.append(
            "1_Pooling/config.json has no include_prompt: true; the prompt is part of every vector."
        )
    return problems


def _prompts(config: dict[str, Any]) -> list[str]:
    name = "config_sentence_transformers.json"
    saved = config.get("prompts") or {}
    problems = [
        f"{name}: prompt {key} is {json.dumps(saved.get(key))}, "
        f"the task's is {json.dumps(prompts().get(key))}."
        for key in sorted(saved.keys() | prompts())
        if saved.get(key) != prompts().get(key)
    ]
    if config.get("default_prompt_name") is not None:
        problems.append(f"{name} has default_prompt_name, which would put one side's prompt on both.")
    if config.get("similarity_fn_name") != "cosine":
        problems.append(f"{name} has similarity_fn_name {config.get('similarity_fn_name')!r}, not 'cosine'.")
    return problems


def _lengths(bert: dict[str, Any], tokenizer: dict[str, Any], config: dict[str, Any]) -> list[str]:
    length = bert.get("max_seq_length")
    if not isinstance(length, int) or length < 1:
        return [f"sentence_bert_config.json has max_seq_length {length!r}, not a number of tokens."]
    problems = []
    if set(bert) != {"max_seq_length", "do_lower_case"}:
        problems.append(
            f"sentence_bert_config.json has {', '.join(sorted(bert))}; older readers take only "
            "max_seq_length and do_lower_case."
        )
    if tokenizer.get("model_max_length") != length:
        problems.append(
            f"tokenizer_config.json has model_max_length {tokenizer.get('model_max_length')}, "
            f"sentence_bert_config.json max_seq_length {length}."
        )
    if length > config.get("max_position_embeddings", length):
        problems.append(
            f"sentence_bert_config.json has max_seq_length {length}, more than the "
            f"{config['max_position_embeddings']} positions in config.json."
        )
    return problems


def _dims(config: dict[str, Any]) -> list[str]:
    dims, full = config.get("matryoshka_dimensions"), config.get("hidden_size")
    numbers = isinstance(dims, list) and all(type(dim) is int and dim > 0 for dim in dims)
    if numbers and dims and dims[0] == full and dims == sorted(set(dims), reverse=True):
        return []
    return [f"config.json has matryoshka_dimensions {dims}: they must fall, without repeats, from {full}."]


def _old_spellings(config: dict[str, Any]) -> list[str]:
    problems = []
    theta = (config.get("rope_parameters") or {}).get("rope_theta")
    if config.get("rope_theta") != theta:
        problems.append(
            f"config.json has rope_theta {config.get('rope_theta')} beside rope_parameters.rope_theta "
            f"{theta}: transformers 4 reads the first (10,000 where it is absent), transformers 5 the second."
        )
    if config.get("torch_dtype") != config.get("dtype"):
        problems.append(
            f"config.json has torch_dtype {config.get('torch_dtype')!r} beside dtype {config.get('dtype')!r}."
        )
    if config.get("use_cache") is not False:
        problems.append("config.json has no use_cache: false; an embedding needs no cache.")
    return problems


def _no_code(folder: Path, files: _Files) -> list[str]:
    keyed = [name for name in ("config.json", "tokenizer_config.json") if "auto_map" in files[name]]
    scripts = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.py"))}
    handler = scripts.pop(HANDLER, None)
    problems = [f"{name} has auto_map, which makes readers run remote code." for name in keyed]
    problems += [f"{name} is code; a release holds none but {HANDLER}." for name in scripts]
    if handler is not None and handler.read_bytes() != handler_source().read_bytes():
        problems.append(
            f"{HANDLER} is not that of the codequarry installed here, and an inference endpoint would run "
            "it: read it, or verify with the version that built the release, which its card names."
        )
    return problems


def _no_chat_template(folder: Path, tokenizer: dict[str, Any]) -> list[str]:
    found = sorted(path.name for path in folder.rglob("*chat_template*"))
    found += ["tokenizer_config.json (chat_template)"] if "chat_template" in tokenizer else []
    return [
        f"{name} is a chat template: sentence-transformers 6 would wrap every text in it." for name in found
    ]
