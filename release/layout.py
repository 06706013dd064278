"""The one layout every consumer reads, written from a run folder.

sentence-transformers 6 saves what sentence-transformers 3, text-embeddings-inference and older vLLM cannot
read: new class names, a pooling config of one word, no `max_seq_length`. The layout before 5.4 is read by all
of them, with the same vectors, so that is what a release holds.
"""

from pathlib import Path

from codequarry.modules.serialization import add_legacy_fields
from codequarry.modules.whole_files import write_json
from codequarry.release.module_list import DENSE_WEIGHTS, LEGACY_PREFIX, POOLING_FLAGS, places
from codequarry.release.run_folder import RunFolder
from codequarry.release.tokenizer_files import write_tokenizer
from codequarry.release.weights import LARGEST_SHARD, TORCH_NAMES, Dtype, write_weights

REQUIREMENTS = {
    "transformers": {
        "specifier": ">=4.57",
        "reason": "Releases are checked with 4.57 (sentence-transformers 3.4.1) and 5, none older.",
    }
}


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

    Raises ValueError where the run holds what the layout cannot say (see `RunFolder`), an unknown dtype, and
    weights that would be larger on disk than in memory.
    """
    in_memory = in_memory or dtype
    for name in (dtype, in_memory):
        if name not in TORCH_NAMES:
            raise ValueError(f"dtype {name!r} is not one a release is written in: pass 'fp32' or 'bf16'.")
    if dtype == "fp32" and in_memory == "bf16":
        raise ValueError("fp32 on disk and bf16 in memory is half the file for nothing: pass dtype 'bf16'.")
    write_weights(run.weight_files, out, dtype, largest_shard)
    _write_config(run, out / "config.json", in_memory)
    write_tokenizer(run.folder, out, max_length=run.max_length)
    modules = places([name for name, _ in run.modules])
    write_json(
        out / "modules.json",
        [
            {"idx": index, "name": str(index), "path": path, "type": LEGACY_PREFIX + name}
            for index, (name, path) in enumerate(modules)
        ],
    )
    write_json(out / "sentence_bert_config.json", {"max_seq_length": run.max_length, "do_lower_case": False})
    (out / "1_Pooling").mkdir()
    write_json(
        out / "1_Pooling" / "config.json",
        {"word_embedding_dimension": run.hidden_size}
        | {flag: mode == run.pooling for mode, flag in POOLING_FLAGS.items()}
        | {"include_prompt": True},
    )
    layers = iter(run.dense)
    for name, path in modules[2:]:
        (out / path).mkdir()
        if name == "Dense":
            layer = next(layers)
            write_json(out / path / "config.json", layer.config)
            write_weights([run.folder / layer.path / DENSE_WEIGHTS], out / path, dtype)
        else:
            # Older readers ignore this file, but a folder without files would be lost on its way through git.
            names = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
            write_json(out / path / "config.json", names)
    write_json(
        out / "config_sentence_transformers.json",
        {
            "__version__": _versions(),
            "model_type": "SentenceTransformer",
            "prompts": run.prompt_family.prompts(),
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
            "requirements": REQUIREMENTS,
        },
    )


def _write_config(run: RunFolder, path: Path, in_memory: Dtype) -> None:
    # Every reader turns the weights into the type named here: transformers 4 and 5, and servers.
    # `dims` and the pooling were read from this same file by RunFolder; they are written anew so that they
    # also stand in the release of a run which left one of them out.
    config = dict(run.config) | {
        "dtype": TORCH_NAMES[in_memory],
        "matryoshka_dimensions": list(run.dims),
        "use_cache": False,
    }
    if run.attention.causal:
        config["is_causal"] = True
    elif config.get("is_causal"):  # of a family that attends both ways whatever it says, as vLLM would not
        del config["is_causal"]
    write_json(path, config)
    add_legacy_fields(path)


def _versions() -> dict[str, str]:
    import sentence_transformers
    import torch
    import transformers

    return {
        "sentence_transformers": sentence_transformers.__version__,
        "transformers": transformers.__version__,
        "pytorch": torch.__version__,
    }
