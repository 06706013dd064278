"""Is a folder a whole model, and does it give the vectors that it was saved with?

A library draws tensors that it does not find at random, and pools and truncates as the files say, without a
word. So `load` checks the files before, and weights and first vectors after: 0.1 seconds for mini.
"""

import copy
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from codequarry.common.environment import has_int8_products
from codequarry.common.errors import UserError, is_out_of_memory, some
from codequarry.common.files import file_sha256, read_json
from codequarry.modules.golden_vectors import GOLDEN, compared_rows, short_rows
from codequarry.modules.saved_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, TOKENIZER, is_exact
from codequarry.modules.saved_weights import broken_tensors, own_shapes, stored_shapes, wrong_tensors
from codequarry.modules.static_files import is_static

if TYPE_CHECKING:
    from codequarry.inference.runtime.folder import FolderModel
    from codequarry.modules.embedder import CodeEmbedder

_SETTINGS = "config_sentence_transformers.json"
_MANIFEST = "manifest.json"
_HASHED = 64 << 20  # bytes of the largest file that is hashed when a model is loaded; mini's take 30 ms
_LARGEST = 1 << 28  # bytes of a JSON file that is read
_INT8_COSINE = 0.98  # of a vector in 8-bit integers to its golden one, at least
_AGAIN = "Fetch or save the model again"
_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def check_files(folder: Path) -> None:
    """Raise UserError for the first file of a model's folder that is missing or is not what it should be.

    Without reading the weights. A release's weights and tokenizer are compared with its `manifest.json`.
    """
    rows = _read(folder / "modules.json", list)
    if not rows or not all(_is_row(folder, row) for row in rows):
        raise UserError(
            f"{folder}/modules.json is not a list of modules with their `type` and the folder (`path`) of "
            f"each in this one. {_AGAIN}."
        )
    for name in TOKENIZER[:1] if is_static(folder) else TOKENIZER:  # the first alone says all of a static one
        read_object(folder / name)
    settings = read_object(folder / _SETTINGS)
    for row in rows[1:]:
        place = folder / row["path"]
        if not (place / "config.json").is_file() and not row["type"].endswith(".Normalize"):
            raise UserError(f"{place} holds no config.json, and modules.json names that module. {_AGAIN}.")
    for row in rows:
        for name in ("config.json", "sentence_bert_config.json"):
            if (folder / row["path"] / name).is_file():
                read_object(folder / row["path"] / name)
    prompts = settings.get("prompts") or {}  # one that lacks them is refused with its own sentence
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise UserError(f"{folder}/{_SETTINGS} has no `prompts`, texts by name. {_AGAIN}.")
    for name, allowed in (("default_prompt_name", (None,)), ("similarity_fn_name", (None, "cosine", "dot"))):
        if settings.get(name) not in allowed:
            raise UserError(
                f"{folder}/{_SETTINGS} has {name} {settings[name]!r}: codequarry's models have no default "
                f"prompt, which would put one side's on both, and are compared by cosine. {_AGAIN}."
            )
    transformer = folder / rows[0]["path"]
    if (transformer / ADAPTER_CONFIG).is_file():
        return
    config = read_object(transformer / "config.json")
    if (dims := config.get("matryoshka_dimensions")) is not None:
        check_dims(transformer / "config.json", dims)
    if not weight_files(transformer):
        raise UserError(
            f"{transformer} holds no whole weights in safetensors (model.safetensors, or every file that "
            f"model.safetensors.index.json names), and codequarry reads no pickles. {_AGAIN}."
        )
    _check_listed(folder)


def _is_row(folder: Path, row: Any) -> bool:
    if (
        not isinstance(row, dict)
        or not isinstance(row.get("type"), str)
        or not isinstance(row.get("path"), str)
    ):
        return False
    known = row["type"].startswith("sentence_transformers.") or _is_ours(row["type"])
    place = Path(row["path"])
    inside = not place.is_absolute() and ".." not in place.parts
    # git keeps no empty folder, and older versions wrote nothing for a Normalize
    return known and inside and ((folder / place).is_dir() or row["type"].endswith(".Normalize"))


def _is_ours(name: str) -> bool:
    # imported for such a name alone: `runtime.folder` checks files without sentence-transformers
    from codequarry.modules.embedder import CodeEmbedder

    return name in CodeEmbedder._module_classes


def read_object(file: Path) -> dict[str, Any]:
    """The object in a JSON file of a model's folder. Raises UserError for anything else."""
    value: dict[str, Any] = _read(file, dict)
    return value


def _read(file: Path, kind: type) -> Any:
    if not file.is_file():
        raise UserError(f"{file} is missing, or not a file. {_AGAIN}.")
    try:
        value = read_json(file, _LARGEST)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read ({type(error).__name__}: {error}). {_AGAIN}.") from error
    if not isinstance(value, kind):
        raise UserError(f"{file} does not hold a JSON {'object' if kind is dict else 'list'}. {_AGAIN}.")
    return value


def check_dims(file: Path, dims: Any) -> list[int]:
    """`dims`, the trained dimensions in `file`. Raises UserError unless they are whole numbers that fall."""
    if (
        isinstance(dims, list)
        and dims
        and all(type(dim) is int and dim > 0 for dim in dims)
        and dims == sorted(set(dims), reverse=True)
    ):
        return dims
    raise UserError(
        f"{file} has the dimensions {dims!r}, not whole numbers that fall from the size of a vector. "
        f"{_AGAIN}."
    )


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a folder's weights, as transformers finds them; [] where one is missing."""
    index = folder / "model.safetensors.index.json"
    if (whole := folder / "model.safetensors").is_file():
        return [whole]
    if not index.is_file():
        return []
    places = read_object(index).get("weight_map")
    names = set(places.values()) if isinstance(places, dict) and places else {""}
    if not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise UserError(f"{index} has no `weight_map`, the name of a file for each tensor. {_AGAIN}.")
    files = [folder / name for name in sorted(names)]
    return files if all(file.is_file() for file in files) else []


def _check_listed(folder: Path) -> None:
    """Weights and tokenizer, whose damage few texts would show, by the sizes and sha256 on record."""
    listed: dict[str, Any] = {}
    for record, field in ((GOLDEN, "sha256"), (_MANIFEST, "files")):
        if (folder / record).is_file():
            found = read_object(folder / record).get(field, {})
            listed |= (
                {str(name): (record, entry) for name, entry in found.items()}
                if isinstance(found, dict)
                else {}
            )
    for name, (source, entry) in listed.items():
        file = folder / name
        if not file.is_file() or not (name.endswith(".safetensors") or name in TOKENIZER):
            continue
        size, sha256 = (entry.get("size"), entry.get("sha256")) if isinstance(entry, dict) else (None, entry)
        found_size = file.stat().st_size
        if size not in (None, found_size) or (found_size <= _HASHED and file_sha256(file) != sha256):
            raise UserError(
                f"{file} is not the file that {source} names: it was damaged or changed since. {_AGAIN}; "
                f"or, if you changed it on purpose, remove {GOLDEN} and {_MANIFEST} from the folder."
            )


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what libraries raise on a model's files into a UserError; what our own code raises stays.

    Three libraries read the files, one of them in compiled code that raises bare Exception, so that a list of
    classes would have gaps. Out of memory is no fault of the files.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if is_out_of_memory(error) or frame.f_globals["__name__"].startswith("codequarry."):
            raise
        first = (str(error).strip().splitlines() or ["no message"])[0]
        raise UserError(
            f"{name} could not be loaded ({type(error).__name__}: {first}). Check its files, or fetch or "
            "save the model again."
        ) from error


def check_model(folder: Path, model: "CodeEmbedder") -> None:
    """Raise UserError unless `model` has the weights of `folder`, and its vectors.

    Weights: every tensor of the backbone is in the files and none else, all are finite. Vectors: of the size
    of the model, finite, of length 1; and where the folder has golden vectors, equal to three of them.
    """
    from codequarry.modules.static_embedding import static_module  # imports sentence-transformers

    backbone: Any = model.transformers_model
    transformer = folder / read_json(folder / "modules.json")[0]["path"]
    if (transformer / ADAPTER_CONFIG).is_file():
        _check_adapter(transformer, backbone)
    elif static_module(model) is None:  # whose rows were checked as they were read
        _check_weights(transformer, backbone)
    tensors = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    if broken := broken_tensors(tensors):
        raise UserError(f"{folder}: the weights hold NaN or infinity, in {some(broken, 3)}. {_AGAIN}.")
    if any(getattr(module, "include_prompt", True) is not True for module in model.children()):
        raise UserError(
            f"{folder} pools texts without their prompts (include_prompt is not true), and codequarry's "
            f"models are trained with them. {_AGAIN}."
        )
    _check_trained(folder, model)
    with readable(str(folder)):
        check_vectors(folder, model)


def _check_weights(folder: Path, backbone: Any) -> None:
    stored = stored_shapes(weight_files(folder))
    prefix = f"{backbone.base_model_prefix}."
    # A checkpoint of the whole family's form, such as a language model's, has the backbone's names prefixed.
    held = {name.removeprefix(prefix): shape for name, (shape, _) in stored.items()}
    ignored = backbone._keys_to_ignore_on_load_unexpected or ()
    state = backbone.state_dict()
    held = {
        name: shape
        for name, shape in held.items()
        if name in state or not any(re.search(pattern, name) for pattern in ignored)
    }
    if wrong := [*wrong_tensors(held, own_shapes(backbone, held))]:
        raise UserError(f"{folder} is no whole model. {wrong[0]} {_AGAIN}.")
    on_disk = {_TYPES[kind] for _, kind in stored.values() if kind in _TYPES}
    in_memory = str(next(backbone.parameters()).dtype).removeprefix("torch.")
    if on_disk != {in_memory} and in_memory != "float32":
        raise UserError(
            f"{folder} holds weights in {' and '.join(sorted(on_disk))}, and its config.json (dtype) has "
            f"them rounded to {in_memory} when loaded, which gives other vectors. {_AGAIN}."
        )


def _check_adapter(folder: Path, backbone: Any) -> None:
    def plain(name: str) -> str:
        return name.removeprefix("base_model.model.").replace(".default.", ".")

    held = {plain(name): shape for name, (shape, _) in stored_shapes([folder / ADAPTER_WEIGHTS]).items()}
    state = backbone.state_dict()
    wanted = {plain(name): tuple(tensor.shape) for name, tensor in state.items() if ".lora_" in name}
    if not wanted or (wrong := [*wrong_tensors(held, wanted)]):
        raise UserError(f"{folder} holds no whole adapter. {wrong[0] if wanted else ''} {_AGAIN}.")


def _check_trained(folder: Path, model: "CodeEmbedder") -> None:
    """The settings of the model against the recipe that made it, where the folder has its record."""
    if not (folder / "training.json").is_file():
        return
    recipe = read_object(folder / "training.json").get("recipe")
    recipe = recipe if isinstance(recipe, dict) else {}
    poolings = [str(mode) for module in model.children() if (mode := getattr(module, "pooling_mode", None))]
    found = {
        "pooling": poolings[0] if poolings else None,
        "max_length": model.max_seq_length,
        "matryoshka_dims": list(model.matryoshka_dims),
    }
    for name, value in found.items():
        if value and recipe.get(name) not in (None, [], value, "latentattention"):
            raise UserError(
                f"{folder}: the recipe in training.json has {name} {recipe[name]!r}, the model {value!r}: "
                f"its vectors would not be those that were trained. {_AGAIN}."
            )


_TEXT = "def parse(text):\n    return date.fromisoformat(text)"


def check_vectors(folder: Path, model: "CodeEmbedder | FolderModel") -> None:
    """Raise UserError unless the first vectors of `model` are sound, and those of the golden vectors."""
    rows = _golden_rows(folder)
    texts = [text for text, _ in rows] or [f"{model.prompts['document']}{_TEXT}"]
    vectors = _whole_vectors(model, texts)
    size = (model.matryoshka_dims or (_whole(model).get_embedding_dimension(),))[0]
    lengths = np.linalg.norm(vectors, axis=-1) if vectors.ndim == 2 else np.zeros(1)
    if vectors.shape != (len(texts), size) or not np.isfinite(vectors).all() or abs(lengths - 1).max() > 0.01:
        raise UserError(
            f"{folder} gives vectors of {vectors.shape[-1]} numbers and length {lengths[0]:.3g}; they "
            f"should have {size}, all finite, and length 1. Its modules or weights are damaged. {_AGAIN}."
        )
    if not rows:
        return
    expected = np.array([vector for _, vector in rows], dtype=np.float64)
    if expected.shape != vectors.shape:
        raise UserError(f"{folder}/{GOLDEN} has vectors of another size than the model. {_AGAIN}.")
    golden = read_object(folder / GOLDEN)
    if (length := golden.get("max_length")) not in (None, model.max_seq_length):
        raise UserError(
            f"{folder} was saved with a maximum length of {length} tokens, and its files now say "
            f"{model.max_seq_length}. {_AGAIN}; or, if you changed it on purpose, remove {GOLDEN}."
        )
    dims: list[int | None] = list(model.matryoshka_dims) or [size]
    if golden.get("dims") != dims:
        raise UserError(
            f"{folder} was saved for the dimensions {golden.get('dims')} ({GOLDEN}), and its config.json "
            f"now says {dims}. {_AGAIN}; or, if you changed it on purpose, remove {GOLDEN}."
        )
    rounded = _is_rounded(folder, golden.get("dtype"))
    exact = is_exact(cast(Any, model)) and golden.get("exact", True) and not rounded
    far, near = abs(expected - vectors).max(), (expected * vectors).sum(axis=1).min()
    if far > 1e-4 if exact else near < 0.99:
        raise UserError(
            f"{folder} does not give the vectors that it was saved with (cosine {near:.4f} to {GOLDEN}): "
            f"its weights, settings or tokenizer changed since. {_AGAIN}; or, if you changed it on "
            f"purpose, remove {GOLDEN}."
        )


def _whole(model: "CodeEmbedder | FolderModel") -> Any:
    """The model without the dimension that its folder may cut vectors to."""
    found = copy.copy(model)
    found.truncate_dim = None
    return found


def _whole_vectors(model: "CodeEmbedder | FolderModel", texts: list[str]) -> Any:
    found = _whole(model).encode(texts, prompt="", show_progress_bar=False, convert_to_numpy=True)
    return np.asarray(found, dtype=np.float64)


def _is_rounded(folder: Path, dtype: Any) -> bool:
    """Whether the weights were stored again in another type than `dtype`, that of the golden vectors."""
    files = weight_files(folder)
    return dtype is not None and {_TYPES.get(kind) for _, kind in stored_shapes(files).values()} != {dtype}


def calibration_rows(folder: Path) -> list[tuple[str, list[float]]]:
    """The golden texts by which a model is put into 8-bit integers, with their vectors.

    Raises UserError for a folder without golden vectors, and where the processor is not made for it.
    """
    if not has_int8_products():
        raise UserError(
            "runtime='int8' needs a processor with instructions for it (VNNI or AMX, on x86), which this one "
            "does not have: leave it out."
        )
    if not (rows := _golden_rows(folder, short_rows)):
        raise UserError(f"runtime='int8' is set up by golden vectors, and {folder} has no {GOLDEN}.")
    return rows


def check_int8(
    folder: Path, model: "CodeEmbedder | FolderModel", rows: Sequence[tuple[str, list[float]]]
) -> None:
    """Raise UserError where vectors in 8-bit integers are far from the golden ones of `rows`."""
    vectors = _whole_vectors(model, [text for text, _ in rows])
    if {len(vector) for _, vector in rows} != {vectors.shape[1]}:
        raise UserError(f"{folder}/{GOLDEN} has vectors of another size than the model. {_AGAIN}.")
    near = (np.array([vector for _, vector in rows]) * vectors).sum(axis=1).min()
    if not near >= _INT8_COSINE:
        raise UserError(
            f"{folder} does not bear 8-bit integers: the cosine of a vector to its golden one is {near:.3f}, "
            f"and {_INT8_COSINE} is the least that is let through. Leave runtime='int8' out."
        )


def _golden_rows(
    folder: Path, choose: Callable[[dict[str, Any]], list[tuple[str, list[float]]]] = compared_rows
) -> list[tuple[str, list[float]]]:
    """The golden texts that are compared, or those of `choose`; [] where the folder has none."""
    if not (folder / GOLDEN).is_file():
        return []
    golden = read_object(folder / GOLDEN)
    try:
        return choose(golden)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder}/{GOLDEN} is damaged ({type(error).__name__}: {error}). {_AGAIN}."
        ) from error
