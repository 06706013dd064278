"""Every damaged copy of a model's folder gives the right vectors, or a sentence; never wrong vectors."""

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import codequarry
from codequarry.common.errors import UserError
from codequarry.modules.adapter_folder import AdapterBase, file_of, load_adapter_folder, write_base
from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.tasks import CODE
from codequarry.release.golden import write_golden_vectors
from codequarry.training.lora import add_adapter, save_adapter

TEXTS = [
    "def add(a, b):\n\treturn a + b\r\n",
    "x = 1  # na\u00efve \u6f22\u5b57 <|endoftext|>",
    "total = sum(values)\n" * 80,
    "for row in table:\n\n    print(row)\n",
    "MAX",
    "cafe\u0301 = gro\u0308\u00dfe",
]
Mutation = Callable[[Path], None]
NESTED = ("tokenizer.json",)  # its inner fields are thousands


def save_with_large_weights(model: CodeEmbedder, folder: Path) -> Path:
    torch.manual_seed(2)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim == 2:
                weights.normal_(0, 0.3)  # large enough that attention and every setting of it matter
    model.save(str(folder))
    return folder


@pytest.fixture(scope="session")
def saved_decoder(small_decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder with last-token pooling, as `save` leaves it."""
    model = build_model(str(small_decoder), max_length=64, dims=(64, 32), device="cpu")
    return save_with_large_weights(model, tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture(scope="session")
def saved_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with mean pooling and a Dense layer."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, BertTokenizerFast

    backbone = tmp_path_factory.mktemp("bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(
        [Path(__file__).read_text(encoding="utf-8"), *CODE.prompts().values()], trainer
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=64).save_pretrained(backbone)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(backbone)
    model = build_model(
        str(backbone), pooling="mean", projections=(32,), max_length=64, dims=(32, 16), device="cpu"
    )
    return save_with_large_weights(model, tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture(scope="session")
def saved_adapter(small_decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter's folder with golden vectors, as `codequarry release adapter` packs it."""
    model, folder = with_adapter(small_decoder), tmp_path_factory.mktemp("saved") / "adapter"
    save_adapter(model, folder, base=str(small_decoder))
    write_base(folder, AdapterBase(str(small_decoder), None, file_of(model), "lasttoken", 64, (64, 32)))
    write_golden_vectors(folder, load_adapter_folder(folder, device="cpu"), (64, 32), CODE)
    return folder


@pytest.fixture(scope="session")
def saved_unmerged(small_decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was saved while its adapter was active."""
    folder = tmp_path_factory.mktemp("saved") / "unmerged"
    with_adapter(small_decoder).save(str(folder))
    return folder


def with_adapter(backbone: Path) -> CodeEmbedder:
    pytest.importorskip("peft")
    torch.manual_seed(3)
    model = build_model(str(backbone), max_length=64, dims=(64, 32), device="cpu")
    add_adapter(model, rank=4, alpha=8.0)
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.3)
    return model


def vectors(folder: Path) -> Any:
    model = codequarry.load(str(folder), device="cpu")
    return np.concatenate([model.encode_document(TEXTS, task="qa"), model.encode_query(TEXTS, task="qa")])


def other_values(value: Any) -> Iterator[tuple[str, Any]]:
    """Values near `value` and of other types."""
    if isinstance(value, bool):
        yield "flipped", not value
    elif isinstance(value, int | float):
        yield "larger", value * 2 + 1
        yield "negative", -1 - value
    elif isinstance(value, str):
        yield "another word", value + "x"
    elif isinstance(value, list | dict):
        yield "emptied", type(value)()
    if isinstance(value, list) and len(value) > 1:
        yield "reversed", value[::-1]
    yield "null", None
    yield "of another type", {"a": 1} if not isinstance(value, dict) else ["a"]
    yield "a word", "word"


def fields(value: Any, deep: bool = True) -> Iterator[tuple[Any, ...]]:
    """The way to every field of a JSON value."""
    rows = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in rows:
        yield (key,)
        if deep and isinstance(inner, dict | list):
            yield from ((key, *way) for way in fields(inner))


def edited(file: str, change: Callable[[Any], Any]) -> Mutation:
    def mutate(folder: Path) -> None:
        value = json.loads((folder / file).read_text(encoding="utf-8"))
        value = change(value)
        (folder / file).write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")

    return mutate


def at(way: tuple[Any, ...], put: Callable[[Any, Any], None]) -> Callable[[Any], Any]:
    def change(value: Any) -> Any:
        inner = value
        for key in way[:-1]:
            inner = inner[key]
        put(inner, way[-1])
        return value

    return change


def setting(new: Any) -> Callable[[Any, Any], None]:
    def put(inner: Any, key: Any) -> None:
        inner[key] = copy.deepcopy(new)

    return put


def removing(inner: Any, key: Any) -> None:
    del inner[key]


def of_fields(folder: Path) -> Iterator[tuple[str, Mutation]]:
    for path in sorted(folder.rglob("*.json")):
        file = path.relative_to(folder).as_posix()
        value = json.loads(path.read_text(encoding="utf-8"))
        if file == "golden_vectors.json":
            continue
        for way in fields(value, deep=file not in NESTED):
            inner = value
            for key in way:
                inner = inner[key]
            name = f"{file}: {'.'.join(map(str, way))}"
            yield f"{name} removed", edited(file, at(way, removing))
            for what, new in other_values(inner):
                yield f"{name} {what}", edited(file, at(way, setting(new)))
        yield f"{file}: a list", edited(file, lambda value: [value])
        yield f"{file}: null", edited(file, lambda value: None)


def of_files(folder: Path) -> Iterator[tuple[str, Mutation]]:
    def apply(file: str, change: Callable[[Path], None], folder: Path) -> None:
        change(folder / file)

    def as_folder(path: Path) -> None:
        path.unlink()
        path.mkdir()

    def half(path: Path) -> None:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    changes: dict[str, Callable[[Path], None]] = {
        "removed": Path.unlink,
        "emptied": lambda path: path.write_bytes(b""),  # type: ignore[dict-item]
        "cut in half": half,
        "of random bytes": lambda path: path.write_bytes(bytes(range(256)) * 4),  # type: ignore[dict-item]
        "a folder": as_folder,
    }
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        file = path.relative_to(folder).as_posix()
        for what, change in changes.items():
            yield f"{file} {what}", partial(apply, file, change)
    for path in sorted(one for one in folder.rglob("*") if one.is_dir()):
        name = path.relative_to(folder).as_posix()
        yield f"{name} removed", partial(apply, name, shutil.rmtree)


def of_weights(folder: Path) -> Iterator[tuple[str, Mutation]]:
    file = "model.safetensors" if (folder / "model.safetensors").is_file() else "adapter_model.safetensors"

    def with_tensors(change: Callable[[dict[str, Any]], None]) -> Mutation:
        def mutate(folder: Path) -> None:
            tensors = load_file(folder / file)
            change(tensors)
            save_file(tensors, folder / file, metadata={"format": "pt"})

        return mutate

    def put(name: str, change: Callable[[Any], Any]) -> Mutation:
        return with_tensors(lambda tensors: tensors.update({name: change(tensors[name]).contiguous()}))

    def one(value: float) -> Callable[[Any], Any]:
        def change(tensor: Any) -> Any:
            tensor.view(-1)[-1] = value
            return tensor

        return change

    def rename(name: str, new: str | None, tensors: dict[str, Any]) -> None:
        tensor = tensors.pop(name)
        if new is not None:
            tensors[new] = tensor

    names = sorted(load_file(folder / file))
    for name in [*names[:4], *names[-4:]]:
        yield f"{name} missing", with_tensors(partial(rename, name, None))
        yield f"{name} renamed", with_tensors(partial(rename, name, f"{name}x"))
        yield f"{name} with NaN", put(name, one(float("nan")))
        yield f"{name} with infinity", put(name, one(float("-inf")))
        yield f"{name} shorter", put(name, lambda tensor: tensor[:-1])
        yield f"{name} scaled", put(name, lambda tensor: tensor * 3)
        yield f"{name} flattened", put(name, lambda tensor: tensor.flatten()[None])
    yield (
        "all zero",
        with_tensors(lambda tensors: tensors.update({name: one * 0 for name, one in tensors.items()})),
    )
    yield "one more", with_tensors(lambda tensors: tensors.update(extra=torch.ones(3)))
    yield "none", with_tensors(lambda tensors: tensors.clear())


def of_new_files(folder: Path) -> Iterator[tuple[str, Mutation]]:
    texts = {
        "adapter_config.json": [
            "{}",
            '{"peft_type": "LORA", "base_model_name_or_path": "org/absent", "r": 4}',
        ],
        "chat_template.jinja": ["{{ messages[0].content }} and more"],
        "added_tokens.json": ['{"def": 5}'],
        "special_tokens_map.json": ['{"eos_token": "def", "pad_token": "def", "unk_token": "def"}'],
        "vocab.txt": ["a\nb\nc\n"],
        "vocab.json": ['{"a": 0, "b": 1}'],
        "merges.txt": ["a b\n"],
        "preprocessor_config.json": ["{}", '{"processor_class": "CLIPProcessor"}'],
        "processor_config.json": ['{"processor_class": "CLIPProcessor"}'],
        "generation_config.json": ['{"max_length": 2}'],
        "model.safetensors.index.json": ['{"weight_map": {"a": "elsewhere.safetensors"}}'],
        "pytorch_model.bin": ["no pickle"],
        "modeling.py": ["raise SystemExit('code ran')"],
        "training.json": ["[]", '{"recipe": {"pooling": "cls"}}', '{"recipe": {"max_length": 8}}'],
        "manifest.json": [
            "[]",
            '{"files": {"model.safetensors": {"size": 3}}}',
            '{"files": {"tokenizer.json": 1}}',
        ],
        "base.json": ["{}"],
    }

    def write(file: str, text: str, folder: Path) -> None:
        (folder / file).write_text(text, encoding="utf-8")

    for file, contents in texts.items():
        for number, text in enumerate(contents):
            yield f"{file} added ({number})", partial(write, file, text)
    code = {"auto_map": {"AutoModel": "modeling.Model", "AutoConfig": "modeling.Config"}}
    for file in ("config.json", "tokenizer_config.json"):
        if (folder / file).is_file():
            yield f"{file} names code", edited(file, lambda value: value | code)
    if not (folder / "modules.json").is_file():
        return
    yield "modules.json: a module twice", edited("modules.json", lambda rows: [*rows, rows[-2]])
    yield (
        "modules.json: a class from elsewhere",
        edited("modules.json", lambda rows: [{**rows[0], "type": "os.system"}]),
    )
    yield (
        "modules.json: a place outside",
        edited("modules.json", lambda rows: [{**row, "path": ".."} for row in rows]),
    )


def walk(saved: Path, work: Path, mutations: Iterator[tuple[str, Mutation]]) -> dict[str, str]:
    """What became of each mutation: `right`, `refused`, or what went wrong."""
    expected, found = vectors(saved), {}
    for name, mutate in mutations:
        folder = Path(shutil.copytree(saved, work / "model"))
        mutate(folder)
        try:
            same = np.abs(vectors(folder) - expected).max() < 1e-3
            found[name] = "right" if same else "other vectors"
        except UserError as error:
            found[name] = "refused" if "\n" not in str(error) else f"several lines: {error}"
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
        shutil.rmtree(folder)
    return found


FILES = [of_files, of_new_files, of_weights]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "mutations"),
    [
        *(("saved_decoder", mutations) for mutations in FILES),
        pytest.param("saved_decoder", of_fields, marks=pytest.mark.exhaustive),
        ("saved_adapter", of_files),
        ("saved_unmerged", of_files),
        *(
            pytest.param(model, one, marks=pytest.mark.exhaustive)
            for model in ("saved_encoder", "saved_adapter", "saved_unmerged")
            for one in (*FILES, of_fields)
        ),
    ],
)
def test_a_damaged_folder_gives_the_right_vectors_or_a_sentence(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    model: str,
    mutations: Callable[[Path], Iterator[tuple[str, Mutation]]],
) -> None:
    saved = request.getfixturevalue(model)
    found = walk(saved, tmp_path, mutations(saved))
    assert {name: what for name, what in found.items() if what not in ("right", "refused")} == {}
    assert "refused" in found.values()
