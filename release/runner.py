"""Embed the golden texts of a release with one runtime, in a process without codequarry.

    python runner.py RUNTIME FOLDER OUT.npz

Writes to OUT.npz one array per pass, named `precision padding batch_size dim`; the last line printed is one
JSON object, the versions of the runtime and of the packages below it. Only the runtime's own function imports
its packages.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

Embed = Callable[[list[str], str], Any]  # (texts with their prompts, side of padding) → (texts, dim)
Models = Iterator[tuple[str, Embed]]  # one per precision, which comes first
BATCH = 16  # texts


def with_sentence_transformers(folder: Path) -> Iterator[dict[str, Any]]:
    """Stock sentence-transformers, 3.4.1 or newer: the passes as stored, then in float32."""
    from sentence_transformers import SentenceTransformer

    golden, paddings = read(folder / "golden_vectors.json"), paddings_of(folder)
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    yield encode_passes(model, golden, paddings)
    if dtype_of(model) != "float32":
        # The same weights in float32 must meet the golden vectors as closely as weights stored so.
        yield encode_passes(in_float32(model), golden, paddings)


def with_transformers(folder: Path) -> Models:
    """transformers and torch alone: tokenizer, backbone, pooling, Dense, length 1."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    config, pooling = read(folder / "config.json"), read(folder / "1_Pooling" / "config.json")
    length = read(folder / "sentence_bert_config.json")["max_seq_length"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=getattr(torch, config["dtype"])).eval()
    after = [folder / row["path"] for row in read(folder / "modules.json")[2:]]

    @torch.inference_mode()
    def embed(texts: list[str], padding: str) -> Any:
        tokenizer.padding_side = padding
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
        hidden, mask = model(**tokens).last_hidden_state, tokens["attention_mask"]
        if pooling["pooling_mode_lasttoken"]:
            last = (mask * torch.arange(1, mask.shape[1] + 1)).argmax(1)
            pooled = hidden[torch.arange(len(hidden)), last]
        elif pooling["pooling_mode_cls_token"]:
            pooled = hidden[torch.arange(len(hidden)), mask.argmax(1)]
        else:
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(1) / weights.sum(1)
        for module in after:
            pooled = apply(module, pooled)
        return pooled.float().numpy()

    def apply(module: Path, vectors: Any) -> Any:
        """The output of a Normalize or a Dense for `vectors (texts, dim)`."""
        if not (module / "model.safetensors").is_file():
            return torch.nn.functional.normalize(vectors.float(), dim=1)
        held = {
            name: tensor.to(vectors.dtype) for name, tensor in load_file(module / "model.safetensors").items()
        }
        vectors = torch.nn.functional.linear(vectors, held["linear.weight"], held.get("linear.bias"))
        tanh = read(module / "config.json")["activation_function"].endswith("Tanh")
        return vectors.tanh() if tanh else vectors

    yield config["dtype"], embed
    if config["dtype"] != "float32":
        # Never down: `to(bfloat16)` would round the rotary frequencies too, which stay float32 on loading.
        in_float32(model)
        yield "float32", embed


def with_model2vec(folder: Path) -> Models:
    """model2vec alone: the rows as stored, then in float32."""
    from model2vec import StaticModel  # type: ignore[import-not-found]

    model = StaticModel.from_pretrained(folder)
    yield model.embedding.dtype.name, lambda texts, padding: model.encode(texts)
    if model.embedding.dtype != np.float32:
        model.embedding = model.embedding.astype(np.float32)
        yield "float32", lambda texts, padding: model.encode(texts)


def tokenizer_of(folder: Path) -> Any:
    """The tokenizer of a graph, called as transformers' are; a static model's is in one file, read alone."""
    if (folder / "tokenizer_config.json").is_file():
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(folder)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding()

    def read(texts: list[str], **_: Any) -> dict[str, Any]:
        found = tokenizer.encode_batch(texts, add_special_tokens=False)
        masks = np.array([one.attention_mask for one in found])
        return {"input_ids": np.array([one.ids for one in found]), "attention_mask": masks}

    return read


def with_onnxruntime(folder: Path) -> Models:
    """ONNX Runtime, on every graph in `onnx/`; no torch."""
    import onnxruntime

    tokenizer = tokenizer_of(folder)
    for precision, file in {"float32": "model.onnx", "int8": "model_quantized.onnx"}.items():
        if (path := folder / "onnx" / file).is_file():
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

            def embed(texts: list[str], padding: str, session: Any = session) -> Any:
                return session.run(["sentence_embedding"], int64_tokens(tokenizer, texts, padding))[0]

            yield precision, embed


def with_openvino(folder: Path) -> Models:
    """OpenVINO in float32, on `onnx/model.onnx`; by default it takes bfloat16 where the processor has it."""
    import openvino

    tokenizer = tokenizer_of(folder)
    model = openvino.Core().compile_model(
        folder / "onnx" / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    yield (
        "float32",
        lambda texts, padding: np.array(model(int64_tokens(tokenizer, texts, padding))["sentence_embedding"]),
    )


def with_llama_cpp(folder: Path) -> Models:
    """llama.cpp through llama-cpp-python, on every GGUF file; the end of its name is its precision."""
    import llama_cpp

    class EndKept(llama_cpp.Llama):
        """`Llama` that cuts a long text before its end-of-sequence, and not with it."""

        def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
            tokens: list[int] = super().tokenize(text, add_bos, special)
            limit = int(self.metadata["qwen2.context_length"])
            return tokens if len(tokens) <= limit else [*tokens[: limit - 1], tokens[-1]]

    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file() and "amx_tile" in cpuinfo.read_text(encoding="utf-8"):
        # llama.cpp 0.3.36 repacks weights for AMX and then ends in a segmentation fault.
        parameters = llama_cpp.llama_model_default_params()
        parameters.use_extra_bufts = False
        llama_cpp.llama_cpp.llama_model_default_params = lambda: parameters
    for path in sorted(folder.glob("*.gguf")):
        with closing(llama_cpp.Llama(str(path), vocab_only=True, verbose=False)) as vocabulary:
            room = BATCH * int(vocabulary.metadata["qwen2.context_length"])  # a batch of the longest texts
        with closing(EndKept(str(path), embedding=True, n_ctx=room, n_batch=room, verbose=False)) as model:

            def embed(texts: list[str], padding: str, model: Any = model) -> Any:
                return np.array(model.embed(texts, normalize=True))

            yield path.stem.rpartition("-")[2], embed


# By runtime: its function, and the packages whose versions are printed.
RUNTIMES: dict[str, tuple[Callable[[Path], Iterator[Any]], tuple[str, ...]]] = {
    "sentence-transformers": (with_sentence_transformers, ("sentence_transformers", "transformers", "torch")),
    "transformers": (with_transformers, ("transformers", "torch")),
    "model2vec": (with_model2vec, ("model2vec",)),
    "onnxruntime": (with_onnxruntime, ("onnxruntime", "transformers")),
    "openvino": (with_openvino, ("openvino", "transformers")),
    "llama-cpp-python": (with_llama_cpp, ("llama_cpp",)),
}


def main(runtime: str, folder: Path, out: Path) -> None:
    """Write the passes of `runtime` over the golden texts of `folder` to `out`, and print its versions."""
    models, packages = RUNTIMES[runtime]
    found: dict[str, Any] = {}
    if runtime == "sentence-transformers":
        for passes in models(folder):
            found |= passes
    else:
        # llama.cpp pads nothing.
        paddings = ["right"] if runtime == "llama-cpp-python" else paddings_of(folder)
        golden = read(folder / "golden_vectors.json")
        for precision, embed in models(folder):
            found |= embed_passes(embed, precision, golden, paddings)
    np.savez(out, **found)
    versions = {
        package: str(sys.modules[package].__version__) for package in packages if package in sys.modules
    }
    names = {"sentence_transformers": "sentence-transformers", "llama_cpp": "llama-cpp-python"}
    # OpenVINO's version ends with its build.
    print(json.dumps({names.get(name, name): text.partition("-")[0] for name, text in versions.items()}))


def embed_passes(
    embed: Embed, precision: str, golden: dict[str, Any], paddings: Sequence[str]
) -> dict[str, Any]:
    """One text per batch, then 16, padded on each side: vectors of full size, which the caller cuts."""
    texts = prompted_texts(golden)
    found = {}
    for padding, size in [("right", 1), *((padding, BATCH) for padding in paddings)]:
        groups = batches(texts, size)
        vectors = [embed([texts[place] for place in places], padding) for places in groups]
        found[f"{precision} {padding} {size} {golden['dims'][0]}"] = in_order(vectors, groups)
    return found


def encode_passes(model: Any, golden: dict[str, Any], paddings: Sequence[str]) -> dict[str, Any]:
    """The same through `encode`, which cuts vectors itself: every dimension is a pass."""
    plain: dict[str, Any] = {"normalize_embeddings": True, "show_progress_bar": False}
    rows, (full, *_) = golden["rows"], golden["dims"]
    precision = dtype_of(model)
    model.truncate_dim = None
    # Exactly as a user calls it: nothing here makes up for a model that does not give unit vectors.
    alone = [model.encode([row["text"]], prompt_name=row["prompt_name"])[0] for row in rows]
    found = {f"{precision} right 1 {full}": np.array(alone)}
    # `encode` takes one prompt per call; written out, the prompts of all tasks share a batch, short and long.
    texts = prompted_texts(golden)
    groups = batches(texts, BATCH)
    forward = model.forward
    for padding in paddings:
        set_padding(model, padding)
        vars(model)["forward"] = computed_once(forward)  # found before the method
        # The cut comes after the model, so one side is enough for the smaller dimensions.
        for dim in golden["dims"] if padding == "right" else [full]:
            model.truncate_dim = dim
            vectors = [
                model.encode([texts[place] for place in places], batch_size=BATCH, **plain)
                for places in groups
            ]
            found[f"{precision} {padding} {BATCH} {dim}"] = in_order(vectors, groups)
    del vars(model)["forward"]
    set_padding(model, "right")
    return found


def set_padding(model: Any, side: str) -> None:
    """Let a model's tokenizer pad on this side; a static model's pads nothing."""
    if hasattr(model.tokenizer, "padding_side"):
        model.tokenizer.padding_side = side


def computed_once(forward: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """`forward` of a model, cached by its tokens.

    `encode` repeats the rest for each dimension: tokens, batches, the cut, the length, the order of texts. On
    a large model five dimensions would otherwise take five times as long.
    """
    known: dict[Any, Any] = {}

    def answer(features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        # What decides an answer; a static model's texts stand one after the other, and offsets say where.
        tokens = [features[name] for name in ("input_ids", "attention_mask", "offsets") if name in features]
        key = tuple((*one.shape, one.numpy().tobytes()) for one in tokens)
        if key not in known:
            known[key] = forward(features, **kwargs)["sentence_embedding"]
        return {"sentence_embedding": known[key]}

    return answer


def batches(texts: Sequence[str], size: int) -> list[list[int]]:
    """The places of `texts`, `size` per batch; with the longest text three others at most.

    A batch is padded to its longest text, and one of the golden texts is longer than the model reads. With
    fifteen short ones in it, that batch was nine tenths of the computation of a large model.
    """
    longest = max(range(len(texts)), key=lambda place: len(texts[place]))
    others = [place for place in range(len(texts)) if place != longest]
    first = min(size, 4) - 1
    rest = others[first:]
    return [[longest, *others[:first]], *(rest[start : start + size] for start in range(0, len(rest), size))]


def in_order(vectors: Sequence[Any], groups: Sequence[Sequence[int]]) -> Any:
    """The vectors of all batches, `(texts, dim)`, in the order of the texts."""
    return np.concatenate(vectors)[np.argsort(np.concatenate(groups))]


def prompted_texts(golden: dict[str, Any]) -> list[str]:
    """Each golden text with its prompt."""
    return [golden["prompts"][row["prompt_name"]] + row["text"] for row in golden["rows"]]


def int64_tokens(tokenizer: Any, texts: list[str], padding: str) -> dict[str, Any]:
    """The inputs of an exported graph."""
    tokenizer.padding_side = padding
    tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="np")
    return {name: tokens[name].astype(np.int64) for name in ("input_ids", "attention_mask")}


def paddings_of(folder: Path) -> list[str]:
    """Both sides where the model allows it.

    A causal model counts positions from the first real token; an encoder's positions would be shifted.
    """
    return ["right", "left"] if read(folder / "config.json").get("is_causal") else ["right"]


def dtype_of(model: Any) -> str:
    """The type of a model's weights, such as `float32`."""
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def in_float32(model: Any) -> Any:
    """A model of torch with its weights converted to float32, in the way that takes least memory.

    As loaded they lie in the file, which stays in memory until the last of them is copied: with the copies
    made first, 0.5 billion weights of bfloat16 take 2.7 GB and not 3.6.
    """
    for weights in model.parameters():
        weights.data = weights.data.clone()
    return model.float()


def read(path: Path) -> Any:
    """The value in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
