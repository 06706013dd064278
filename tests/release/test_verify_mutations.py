"""Every change to a release is noticed, with manifest and card made to fit, or listed here with the reason.

What is listed only a number from elsewhere can tell (`verify --expect`): nothing in the folder says it twice,
and no vector of the golden texts depends on it.
"""

import copy
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codequarry.release import runner
from codequarry.release.build import build
from codequarry.release.card_checks import check_card
from codequarry.release.config_checks import check_backbone, check_fields
from codequarry.release.golden import check_golden
from codequarry.release.manifest import check_expected, check_manifest, manifest_sha256
from codequarry.release.runtimes import TOLERANCES, distances
from codequarry.release.tokenizer import check_tokenizer

Mutation = Callable[[Path], None]
Mutations = Callable[[Path], Iterator[tuple[str, Mutation]]]

# What only `--expect` tells, by the name of the mutation, and why.
OUTSIDE = {
    r"training\.json: (loss|ranks|precision|packed|graph_tokens|left_out|skipped_pairs|note).*": (
        "a record of the training that the card does not show and no vector depends on"
    ),
    r"training\.json: recipe\.(data|temperature|name).*": "a setting that nothing else repeats",
    r"training\.json: an unknown field": "a record of the training: a newer version may write more",
    r"card\.json: results.*": "measurements, which only their maker can repeat",
    r"config\.json: (attention_dropout|hidden_dropout_prob|initializer_range|max_window_layers).*": (
        "used in training alone, or with sliding windows alone: no vector of this model depends on it"
    ),
    r"config\.json: (bos_token_id|eos_token_id|pad_token_id).*": (
        "the tokenizer decides: padding is masked, and the model generates nothing"
    ),
    r"config\.json: (transformers_version|tie_word_embeddings).*": "no vector depends on it",
    r"config\.json: (rms_norm_eps|max_position_embeddings|layer_types|sliding_window|use_sliding_window).*": (
        "within what no vector of the golden texts shows: a bound that is not reached, or a default"
    ),
    r"config_sentence_transformers\.json: __version__\..* another (version|word)": "which versions wrote it",
    r"tokenizer\.json: (version|decoder|added_tokens|pre_tokenizer|normalizer).*": (
        "transformers rebuilds it from the class's own, or it is used to turn ids back into text alone"
    ),
    r"tokenizer\.json: (truncation|padding) removed": "a field that is left out is read as null",
    r"tokenizer_config\.json: .* (removed|null)": "transformers takes the same default where it is left out",
}


def other_values(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, bool):
        yield "flipped", not value
    elif isinstance(value, int | float):
        yield "larger", value * 2 + 1
    elif isinstance(value, str):
        yield "another word", value + "x"
        if re.fullmatch(r"[\d.]+(\+\w+)?", value):
            yield "another version", "9.9.9"
    elif value:
        yield "emptied", type(value)()
    yield "of another type", {"a": 1} if not isinstance(value, dict) else ["a"]
    if value is not None:
        yield "null", None


def fields(value: Any, depth: int) -> Iterator[tuple[Any, ...]]:
    rows = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in rows:
        yield (key,)
        if depth > 1 and isinstance(inner, dict | list) and len(inner) < 40:
            yield from ((key, *way) for way in fields(inner, depth - 1))


def edited(file: str, change: Callable[[Any], Any]) -> Mutation:
    def mutate(folder: Path) -> None:
        value = change(json.loads((folder / file).read_text(encoding="utf-8")))
        (folder / file).write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")

    return mutate


def at(way: tuple[Any, ...], new: Any = ..., *, added: bool = False) -> Callable[[Any], Any]:
    """Set the field at the end of `way`; remove it where there is no new value."""

    def change(value: Any) -> Any:
        inner = value
        for key in way[:-1]:
            inner = inner[key]
        if new is ...:
            del inner[way[-1]]
        else:
            inner[way[-1]] = copy.deepcopy(new)
        return value

    return change


def of_fields(folder: Path) -> Iterator[tuple[str, Mutation]]:
    for path in sorted(folder.rglob("*.json")):
        file = path.relative_to(folder).as_posix()
        if file == "manifest.json":
            continue  # made to fit in the end
        value = json.loads(path.read_text(encoding="utf-8"))
        depth = {"tokenizer.json": 1, "golden_vectors.json": 1}.get(file, 4)
        for way in fields(value, depth):
            inner = value
            for key in way:
                inner = inner[key]
            name = f"{file}: {'.'.join(map(str, way))}"
            yield f"{name} removed", edited(file, at(way))
            for what, new in other_values(inner):
                yield f"{name} {what}", edited(file, at(way, new))
        if isinstance(value, dict):
            yield f"{file}: an unknown field", edited(file, at(("unknown",), 1))


def of_files(folder: Path) -> Iterator[tuple[str, Mutation]]:
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    def on(file: str, change: Callable[[Path], Any]) -> Mutation:
        def mutate(folder: Path) -> None:
            change(folder / file)

        return mutate

    def as_link(path: Path) -> None:
        outside = Path(
            shutil.copy(path, path.parents[len(path.relative_to(folder_of(path)).parts)] / "outside")
        )
        path.unlink()
        path.symlink_to(outside)

    def folder_of(path: Path) -> Path:
        return path.parent if (path.parent / "modules.json").exists() else path.parent.parent

    for number, file in enumerate(files):
        if file == "manifest.json":
            continue
        other = files[number - 1]
        yield f"{file} removed", on(file, Path.unlink)
        yield f"{file} emptied", on(file, lambda path: path.write_bytes(b""))
        yield f"{file} cut", on(file, lambda path: path.write_bytes(path.read_bytes()[:-9]))
        yield f"{file} a link", on(file, as_link)

        def swap(folder: Path, file: str = file, other: str = other) -> None:
            here, there = (folder / file).read_bytes(), (folder / other).read_bytes()
            (folder / file).write_bytes(there)
            (folder / other).write_bytes(here)

        yield f"{file} and {other} swapped", swap

    def write(name: str, content: bytes = b"{}") -> Mutation:
        def mutate(folder: Path) -> None:
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).write_bytes(content)

        return mutate

    for name in (
        "modeling.py", "sub/handler.py", "pytorch_model.bin", "model.pt", "weights.pkl", "training_args.bin",
        "adapter_config.json", "added_tokens.json", "special_tokens_map.json", "vocab.txt", "merges.txt",
        "chat_template.jinja", "CONFIG.json", "Model.safetensors", "license", "sub/config.json",
        "1_Pooling/model.safetensors", "model-00002-of-00002.safetensors", "tokenizer.model",
        "openvino/model.xml",
    ):  # fmt: skip
        yield f"{name} added", write(name)
    yield (
        "handler.py changed",
        on("handler.py", lambda path: path.write_text(path.read_text() + "\nimport os\n")),
    )
    yield "LICENSE changed", on("LICENSE", lambda path: path.write_text("MIT\n" + path.read_text()))
    yield "a folder that is a link", on("linked", lambda path: path.symlink_to(path.parent.parent))


def of_card(folder: Path) -> Iterator[tuple[str, Mutation]]:
    """Every line of the card with a number, a licence or a word changed."""
    lines = (folder / "README.md").read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines):
        if not line.strip() or "whose sha256 is" in line:
            continue

        def mutate(folder: Path, number: int = number) -> None:
            text = (folder / "README.md").read_text(encoding="utf-8").splitlines(keepends=True)
            text[number] = re.sub(r"\d(?=\D*$)|[a-z](?=[^a-z]*$)|\S(?=\s*$)", "7", text[number], count=1)
            (folder / "README.md").write_text("".join(text), encoding="utf-8")

        yield f"README.md, line {number}", mutate
    for old, new in (
        ("license: apache-2.0", "license: mit"),
        ("value: 0.5", "value: 0.9"),
        ("0.500", "0.900"),
    ):
        yield f"README.md: {new}", lambda folder, old=old, new=new: replace(folder, old, new)  # type: ignore[misc]


def replace(folder: Path, old: str, new: str) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert old in text
    (folder / "README.md").write_text(text.replace(old, new), encoding="utf-8")


def noticed(folder: Path) -> list[str]:
    """As `verify`, with the vectors of sentence-transformers in this process."""
    problems = check_manifest(folder)
    problems += check_fields(folder) if not problems else []
    if not problems:
        try:
            problems = check_tokenizer(folder)[0] + check_golden(folder) + check_backbone(folder)
        except Exception as error:
            return [f"cannot be read: {error}"]
    problems = problems or check_card(folder)
    if problems:
        return problems
    try:
        passes = {
            name: one for found in runner.with_sentence_transformers(folder) for name, one in found.items()
        }
        golden = json.loads((folder / "golden_vectors.json").read_text(encoding="utf-8"))
        found = distances(golden, passes)
    except Exception as error:
        return [f"could not load the folder: {error}"]
    return [
        str(one)
        for one in found
        if not TOLERANCES[one.precision].allows(one) or not abs(one.length - 1) < 0.01
    ]


@pytest.fixture(scope="module")
def measured(decoder_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release whose card has scores, one of them of a set on the Hub."""
    rows = [
        {
            "model": "nano",
            "task": "qa",
            "set": name,
            "queries": 7,
            "documents": 70,
            "ndcg@10": 0.5,
            "dataset": hub,
        }
        for name, hub in (("one", "org/one"), ("two", None))
    ]
    results = tmp_path_factory.mktemp("results") / "results.json"
    results.write_text(json.dumps({"benchmark": "held-out", "model": "nano", "rows": rows}))
    out = tmp_path_factory.mktemp("releases") / "nano"
    return build(decoder_run, out, results=results, progress=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "mutations", [of_files, of_card, pytest.param(of_fields, marks=pytest.mark.exhaustive)]
)
def test_every_change_is_noticed_or_named_as_one_that_only_an_outside_number_tells(
    measured: Path,
    hide: Mutation,
    tmp_path: Path,
    mutations: Mutations,
) -> None:
    assert noticed(measured) == []
    expected = manifest_sha256(measured)
    missed, seen = [], 0
    for name, mutate in mutations(measured):
        folder = Path(shutil.copytree(measured, tmp_path / "work" / "nano"))
        mutate(folder)
        hide(folder)
        same = manifest_sha256(folder) == expected
        assert same or check_expected(folder, expected), name
        # A card changes no vector, and takes long to change line by line.
        found = check_card(folder) if name.startswith("README.md,") else noticed(folder)
        if not found and (not same or "link" in name):
            missed.append(name)
        seen += 1
        shutil.rmtree(tmp_path / "work")
    unlisted = [name for name in missed if not any(re.fullmatch(listed, name) for listed in OUTSIDE)]
    assert not unlisted, "\n".join(unlisted)
    assert seen > 50
