"""The real GGUF files, where CODEQUARRY_BACKBONES names a folder that holds them."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import pytest

from codequarry.modules.backbone import GGUF_BACKBONES, GGUF_FOLDER, GGUFBackbone
from codequarry.modules.gguf_backbone import source_sha256
from codequarry.recipes.read import read_recipe, recipe_path

pytest.importorskip("gguf", reason="GGUF is read with an extra: pip install 'codequarry[train]'")

from gguf_oracles import LOOKALIKES, UNUSUAL, check_against_transformers, check_config
from small_gguf import OTHERS, SPECIAL
from transformers import AutoTokenizer

ROW, LARGER = GGUF_BACKBONES[:2]
_MEASURED = """
import resource, sys, time
from codequarry.modules.backbone import resolve_backbone
start = time.monotonic()
folder = resolve_backbone(sys.argv[1])
print(folder, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, time.monotonic() - start)
"""


def where_there(row: GGUFBackbone) -> pytest.MarkDecorator:
    """Skips a test where the file of `row` is missing."""
    return pytest.mark.skipif(
        not Path(os.environ.get(GGUF_FOLDER) or "absent", row.file).is_file(),
        reason=f"{row.file} ({row.size / 1e6:,.0f} MB) is not in a folder that {GGUF_FOLDER} names",
    )


real = where_there(ROW)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """The real file dequantised by a process of its own, and that process's peak memory in bytes."""
    yield from dequantised(ROW, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """The same of the larger file."""
    yield from dequantised(LARGER, tmp_path_factory.mktemp("cache"))


def dequantised(row: GGUFBackbone, cache: Path) -> Iterator[tuple[Path, int]]:
    result = subprocess.run(
        [sys.executable, "-c", _MEASURED, row.name],
        env=os.environ | {"CODEQUARRY_CACHE": str(cache)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    print(f"{row.name}: folder, peak memory in bytes, seconds: {result.stdout}")
    folder, peak, _ = result.stdout.split()
    yield Path(folder), int(peak)
    shutil.rmtree(cache)  # 2.5 GB, and 7 GB of the larger one


@real
def test_the_real_file_takes_less_than_three_gigabytes_of_memory_and_of_disk(
    measured: tuple[Path, int],
) -> None:
    folder, peak = measured
    assert peak < 3e9
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2.6e9
    assert source_sha256(folder) == ROW.sha256
    config = check_config(folder)
    assert (config["eos_token_id"], config["pad_token_id"]) == (151645, 151643)


@where_there(LARGER)
@pytest.mark.exhaustive  # minutes, and 7 GB of disk
def test_the_larger_file_is_dequantised_in_as_little_memory_and_has_the_shape_of_its_recipe(
    larger: tuple[Path, int],
) -> None:
    folder, peak = larger
    assert peak < 4e9
    assert sum(file.stat().st_size for file in folder.iterdir()) < 7.5e9
    assert source_sha256(folder) == LARGER.sha256
    config = check_config(folder)
    shape = read_recipe(recipe_path("1.5b")).backbone.shape
    assert shape is not None
    assert (config["hidden_size"], config["num_hidden_layers"]) == (shape.hidden_size, shape.layers)
    assert (config["num_attention_heads"], config["num_key_value_heads"]) == (shape.heads, shape.kv_heads)
    assert (config["intermediate_size"], config["vocab_size"]) == (shape.intermediate_size, shape.vocabulary)
    assert read_recipe(recipe_path("1.5b-lora")).matryoshka_dims[0] == shape.hidden_size
    assert (config["eos_token_id"], config["pad_token_id"]) == (151645, 151643)


@real
def test_the_real_files_logits_and_continuations_are_those_of_transformers(
    measured: tuple[Path, int],
) -> None:
    check_against_transformers(Path(os.environ[GGUF_FOLDER], ROW.file), measured[0], tokens=24)


def two_thousand_texts(data: Path) -> list[str]:
    """Code and prose of all sources, a third of them with something that looks like a special token."""
    texts: list[str] = [*LOOKALIKES, *UNUSUAL]
    for file in sorted((data / "train").glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in islice(lines, 80):
                pair = json.loads(line)
                texts += [pair["query"], pair["document"]]
    marks = cycle((*SPECIAL, *OTHERS))
    for number in range(0, len(texts), 3):
        text = texts[number]
        texts[number] = text[: len(text) // 2] + next(marks) + text[len(text) // 2 :]
    return list(dict.fromkeys(texts))[:2000]


@real
@pytest.mark.skipif("CODEQUARRY_DATA" not in os.environ, reason="the Qwen2.5 tokenizer is in CODEQUARRY_DATA")
@pytest.mark.parametrize("split", [False, True])
def test_the_real_files_token_ids_are_qwens_own_on_two_thousand_texts(
    measured: tuple[Path, int], split: bool
) -> None:
    data = Path(os.environ["CODEQUARRY_DATA"])
    texts = two_thousand_texts(data)
    assert len(set(texts)) == 2000
    found = AutoTokenizer.from_pretrained(measured[0], split_special_tokens=split)
    expected = AutoTokenizer.from_pretrained(data / "tokenizer/qwen2.5", split_special_tokens=split)
    assert found(texts)["input_ids"] == expected(texts)["input_ids"]
    assert (found.eos_token_id, found.pad_token_id) == (151645, 151643)
