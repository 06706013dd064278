"""Which files a release has: those of its layout, its papers, and nothing that a library might mistake."""

from collections.abc import Sequence
from pathlib import Path

from codequarry.release.golden import GOLDEN
from codequarry.release.hub_handler import HANDLER
from codequarry.release.manifest import MANIFEST
from codequarry.release.module_list import DENSE_WEIGHTS, PLAIN, places

PAPERS = ("README.md", "LICENSE", "training.json", GOLDEN)
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
# text-embeddings-inference and transformers.js look for these; a graph past 2 GB has its weights beside it.
_GRAPHS = ("onnx/model.onnx", "onnx/model_quantized.onnx")
# What no library loads: prose, tables, pictures.
_HARMLESS = {".csv", ".md", ".pdf", ".png", ".svg", ".yaml", ".yml"}
# Told apart by checks of their own, with sentences of their own.
_ELSEWHERE = (".py", ".jinja")


def check_file_names(folder: Path, classes: Sequence[str] = PLAIN) -> list[str]:
    """One sentence for each paper that is missing or empty, and each file that has no place in a release.

    classes: of the release's modules, in order.

    transformers and sentence-transformers look for many files more than a release has, such as
    `adapter_config.json`, `added_tokens.json` or `pytorch_model.bin`, and take what they find.
    """
    problems = [
        f"{name} is missing or empty; every release has one."
        for name in PAPERS
        if not (folder / name).is_file() or not (folder / name).stat().st_size
    ]
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [path.relative_to(folder).as_posix() for path in files]
    of_modules = {f"{path}/config.json" for _, path in places(classes)}
    of_modules |= {f"{path}/{DENSE_WEIGHTS}" for name, path in places(classes) if name == "Dense"}
    return problems + [
        f"{name} has no place in a release, and some library may take it for a part of the model."
        for name in names
        if name not in of_modules and not _has_a_place(name)
    ]


def _has_a_place(name: str) -> bool:
    path = Path(name)
    return (
        name in _LAYOUT
        or name.startswith(_GRAPHS)
        or ("/" not in name and path.suffix == ".safetensors")  # those check_weight_files looks at
        or path.suffix in _HARMLESS
        or path.suffix in _ELSEWHERE
        or path.name in ("LICENSE", "NOTICE", ".gitattributes")
    )
