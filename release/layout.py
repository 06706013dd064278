"""The one layout every consumer reads, written from a run folder.

sentence-transformers 6 saves what sentence-transformers 3, text-embeddings-inference and older vLLM cannot
read: new class names, a pooling config of one word, no `max_seq_length`. All of them read the layout before
5.4, with the same vectors, so a release holds that one.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import codequarry
from codequarry.common.errors import UserError
from codequarry.common.files import write_json
from codequarry.modules.attention import Attention
from codequarry.modules.embedder import add_legacy_fields
from codequarry.modules.golden_vectors import GOLDEN
from codequarry.release.manifest import MANIFEST
from codequarry.release.module_list import DENSE_WEIGHTS, PLAIN, POOLING_FLAGS, module_rows, places
from codequarry.release.static import NORMALIZE_FIELDS, write_static_layout
from codequarry.release.tokenizer import write_tokenizer
from codequarry.release.trained_run import RunFolder
from codequarry.release.weights import LARGEST_SHARD, TORCH_NAMES, Dtype, write_weights

REQUIREMENTS = {
    "transformers": {
        "specifier": ">=4.57",
        "reason": "Releases are checked with 4.57 (sentence-transformers 3.4.1) and 5, none older.",
    }
}


NORMALIZE = NORMALIZE_FIELDS

# Fields of config.json that a model's class in transformers need not know: ours, the spellings of
# transformers 4, and what text-embeddings-inference looks for.
OWN_FIELDS = {
    "architectures", "classifier_dropout", "dtype", "gradient_checkpointing", "is_causal",
    "matryoshka_dimensions", "model_type", "position_embedding_type", "rope_parameters", "rope_scaling",
    "rope_theta", "torch_dtype", "transformers_version", "use_cache",
}  # fmt: skip


def write_layout(
    run: RunFolder,
    out: Path,
    *,
    dtype: Dtype = "fp32",
    in_memory: Dtype | None = None,
    largest_shard: int = LARGEST_SHARD,
) -> None:
    """Write weights, tokenizer and every configuration file of `run` into the empty folder `out`.

    dtype: of the weights on disk; the vectors of `bf16` weights differ a little from those of the run.
    in_memory: of the weights once loaded, where the reader asks for nothing else; None: as on disk.
    largest_shard: bytes of a file of weights, at most.

    Raises UserError where the run holds what the layout cannot say (see `RunFolder`), an unknown dtype, and
    weights that would be larger on disk than in memory.
    """
    if run.is_static:
        if dtype != "fp16":
            raise UserError(
                f"{run.folder} is a static model, whose rows are released in fp16: leave dtype out."
            )
        write_static_layout(run, out)
        _write_prompts(run, out)
        return
    in_memory = in_memory or dtype
    for name in (dtype, in_memory):
        if name not in TORCH_NAMES or name == "fp16":
            raise UserError(f"dtype {name!r} is not one a release is written in: pass 'fp32' or 'bf16'.")
    if dtype == "fp32" and in_memory == "bf16":
        raise UserError("fp32 on disk and bf16 in memory is half the file for nothing: pass dtype 'bf16'.")
    write_weights(run.weight_files, out, dtype, largest_shard)
    _write_config(run, out / "config.json", in_memory)
    write_modules(run, out, dtype)


def write_modules(run: RunFolder, out: Path, dtype: Dtype) -> None:
    """Write tokenizer, prompts and the modules of `run` into `out`: all but the backbone.

    dtype: of the weights of Dense modules.
    """
    write_tokenizer(run.folder, out, max_length=run.max_length or 0)
    modules = places([name for name, _ in run.modules])
    write_json(out / "modules.json", module_rows(modules))
    write_json(out / "sentence_bert_config.json", {"max_seq_length": run.max_length, "do_lower_case": False})
    (out / "1_Pooling").mkdir()
    write_json(
        out / "1_Pooling" / "config.json",
        {"word_embedding_dimension": run.hidden_size}
        | {flag: mode == run.pooling for mode, flag in POOLING_FLAGS.items()}
        | {"include_prompt": True},
    )
    layers = iter(run.dense)
    for kind, path in modules[2:]:
        (out / path).mkdir()
        if kind == "Dense":
            layer = next(layers)
            write_json(out / path / "config.json", layer.config)
            write_weights([run.folder / layer.path / DENSE_WEIGHTS], out / path, dtype)
        else:
            # Older readers ignore this file, but a folder without files would be lost on its way through git.
            write_json(out / path / "config.json", NORMALIZE)
    _write_prompts(run, out)


def _write_prompts(run: RunFolder, out: Path) -> None:
    import sentence_transformers
    import torch
    import transformers

    write_json(
        out / "config_sentence_transformers.json",
        {
            "__version__": {
                "sentence_transformers": sentence_transformers.__version__,
                "transformers": transformers.__version__,
                "pytorch": torch.__version__,
            },
            "model_type": "SentenceTransformer",
            "prompts": run.prompt_family.prompts(),
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
            "requirements": REQUIREMENTS,
        },
    )


def _write_config(run: RunFolder, path: Path, in_memory: Dtype) -> None:
    # Every reader turns the weights into the type named here: transformers 4 and 5, and servers.
    # RunFolder read `dims` from this same file; it is written again for a run that left it out.
    config = {name: value for name, value in run.config.items() if name in _known_fields(run.config)} | {
        "dtype": TORCH_NAMES[in_memory],
        "matryoshka_dimensions": list(run.dims),
        "use_cache": False,
    }
    if Attention.of(run.config).causal:
        config["is_causal"] = True
    elif config.get("is_causal"):  # of a family that attends both ways whatever it says, as vLLM would not
        del config["is_causal"]
    write_json(path, config)
    add_legacy_fields(path)


def _known_fields(config: Mapping[str, Any]) -> set[str]:
    """The fields that some reader of a model of this class knows; any other would be followed by chance."""
    from transformers import AutoConfig

    return {*AutoConfig.for_model(config["model_type"]).to_dict(), *OWN_FIELDS}


HANDLER = "handler.py"


def handler_source() -> Path:
    """Our `integrations/handler.py`, which runs without codequarry; a release's copy has the same bytes."""
    return Path(codequarry.__file__).parent / "integrations" / HANDLER


def licence_file() -> Path:
    """The package's LICENSE: in a checkout it lies in the package, in a wheel in its metadata."""
    in_package = Path(codequarry.__file__).with_name("LICENSE")
    if in_package.is_file():
        return in_package
    try:
        listed = files("codequarry") or []
    except PackageNotFoundError:
        listed = []
    for file in listed:
        if file.name == "LICENSE" and (found := Path(str(file.locate()))).is_file():
            return found
    raise UserError("codequarry is installed without its LICENSE, which a release carries: reinstall it.")


PAPERS = ("README.md", "LICENSE", "training.json", "card.json", GOLDEN)

_LAYOUT = {
    "config.json",
    "config_sentence_transformers.json",
    "model.safetensors.index.json",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    HANDLER,
    MANIFEST,
    *PAPERS,
}

# text-embeddings-inference and transformers.js look for these; a graph past 2 GB has its weights in files of
# the same name with a suffix.
_GRAPHS = ("onnx/model.onnx", "onnx/model_quantized.onnx")

# What no library loads: prose, tables, pictures.
_HARMLESS = {".csv", ".md", ".pdf", ".png", ".svg", ".yaml", ".yml"}

# Checked elsewhere, with other messages.
_ELSEWHERE = {".py", ".jinja"}


def check_file_names(folder: Path, classes: Sequence[str] = PLAIN) -> list[str]:
    """One sentence for each paper that is missing or empty, and each file that has no place in a release.

    classes: of the release's modules, in order.

    transformers and sentence-transformers look for many more files, such as `adapter_config.json`,
    `added_tokens.json` or `pytorch_model.bin`, and read those they find.
    """
    problems = [
        f"{name} is missing or empty; every release has one."
        for name in PAPERS
        if not (folder / name).is_file() or not (folder / name).stat().st_size
    ]
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    of_modules = {f"{path}/config.json" for _, path in places(classes)}
    of_modules |= {f"{path}/{DENSE_WEIGHTS}" for name, path in places(classes) if name == "Dense"}
    return problems + [
        f"{name} has no place in a release, and some library may take it for a part of the model."
        for name in names
        if name not in _LAYOUT | of_modules
        and not name.startswith(_GRAPHS)
        and not ("/" not in name and name.endswith(".safetensors"))  # those check_weight_files looks at
        and Path(name).suffix not in _HARMLESS | _ELSEWHERE
        and Path(name).name not in ("LICENSE", "NOTICE", ".gitattributes")
    ]
