"""The examples of integrations/README.md, run as printed, each in a process and a folder of its own."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import codequarry
from codequarry.modules.build import build_model

ROOT = Path(__file__).parents[2]
README = (ROOT / "integrations/README.md").read_text(encoding="utf-8")
QUESTION = "cut source code at its functions"

_EXAMPLE = re.compile(
    r"^## (?P<program>\w+)\n.*?^```\n(?P<install>pip install .+?)\n```\n"
    r".*?^```python\n(?P<code>.+?)^```\n\n```text\n(?P<printed>.*?)^```$",
    re.M | re.S,
)
EXAMPLES = {found["program"]: found.groupdict() for found in _EXAMPLE.finditer(README)}
NEEDS = {
    "LangChain": ["langchain_core"],
    "LlamaIndex": ["llama_index.core"],
    "Haystack": ["haystack", "haystack_integrations.components.embedders.sentence_transformers"],
    "txtai": ["txtai"],
    "Qdrant": ["qdrant_client"],
    "MTEB": ["mteb"],
}

# What has to hold once an example has run, beside what it prints: the vectors it worked with are the model's.
_WANTED = f"""
import numpy
import codequarry
mini = codequarry.load("mini")
paths = sorted(Path("search").glob("*.py"))
texts = [path.read_text(encoding="utf-8") for path in paths]
wanted = mini.encode_document(texts, task="nl2code")
asked = mini.encode_query("{QUESTION}", task="nl2code")
def same(found, expected):
    numpy.testing.assert_allclose(found, expected, atol=1e-6)
"""
CHECKS = {
    "LangChain": """
by_path = {row["metadata"]["path"]: row["vector"] for row in store.store.values()}
same([by_path[path.as_posix()] for path in paths], wanted)
same(embeddings.embed_query("QUESTION"), asked)
""",
    "LlamaIndex": """
of_node = index.vector_store.data.embedding_dict
by_path = {node.metadata["path"]: of_node[node.node_id] for node in nodes}
same([by_path[path.as_posix()] for path in paths], wanted)
same(embedding.get_query_embedding("QUESTION"), asked)
""",
    "Haystack": """
by_path = {found.meta["path"]: found.embedding for found in store.filter_documents()}
same([by_path[path.as_posix()] for path in paths], wanted)
same(query, asked)
""",
    "txtai": """
same(embeddings.batchtransform(texts, "data"), wanted)
same(embeddings.batchtransform(["QUESTION"], "query")[0], asked)
scores = dict(embeddings.search("QUESTION", len(paths)))
same([scores[path.as_posix()] for path in paths], wanted @ asked)
qa = codequarry.TASKS["qa"]
other = Embeddings(
    path=MODEL,
    method="sentence-transformers",
    vectors={"prompts": {"query": qa.query, "document": qa.document}},
)
other.index(texts)
same(other.batchtransform(texts[:2], "data"), mini.encode_document(texts[:2], task="qa"))
same(other.batchtransform(["QUESTION"], "query"), mini.encode_query(["QUESTION"], task="qa"))
""",
    "Qdrant": """
kept = client.retrieve("files", list(range(len(paths))), with_vectors=True)
same([point.vector for point in kept], wanted)
same(query, asked)
""",
}


def missing(program: str) -> list[str]:
    return [name for name in NEEDS[program] if not _found(name)]


def _found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program as its own file in `folder`, which holds the folder it searches, and no network."""
    shutil.copytree(ROOT / "search", folder / "search", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "example.py").write_text(code, encoding="utf-8")
    offline = {"HF_HUB_OFFLINE": "1", "HAYSTACK_TELEMETRY_ENABLED": "False", "HOME": str(folder)}
    return subprocess.run(
        [sys.executable, "-W", "error::FutureWarning:codequarry", "example.py"],
        cwd=folder,
        env=os.environ | offline,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_every_program_of_the_readme_has_an_example() -> None:
    assert list(EXAMPLES) == list(NEEDS)


@pytest.mark.parametrize("program", NEEDS)
def test_an_example_prints_what_the_readme_says(program: str, tmp_path: Path) -> None:
    example = EXAMPLES[program]
    if missing(program):
        pytest.skip(f"{', '.join(missing(program))} missing: {example['install']}")
    check = _WANTED + CHECKS[program].replace("QUESTION", QUESTION) if program in CHECKS else ""
    ran = run(example["code"] + check, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == example["printed"]


def test_what_the_readme_says_of_mini_without_prompt_and_without_newlines() -> None:
    mini: Any = codequarry.load("mini", device="cpu")
    question = "write a file so that nobody reads half of it"
    right, without = mini.encode_query([question])[0], mini.encode([question], prompt="")[0]
    said = re.search(rf'For the question "{question}", .+? has cosine (\S+) to the right one', README, re.S)
    assert said is not None
    assert f"{right @ without:.3f}" == said[1]
    text = (ROOT / "search/kinds.py").read_text(encoding="utf-8")
    kept, replaced = mini.encode_document([text, text.replace("\n", " ")], task="nl2code")
    np.testing.assert_allclose(kept, replaced, atol=1e-6)


def test_llama_indexs_own_class_loses_the_saved_prompts(small_decoder: Path, tmp_path: Path) -> None:
    own = pytest.importorskip(
        "llama_index.embeddings.huggingface", reason="pip install llama-index-embeddings-huggingface"
    )
    from codequarry.integrations.llama_index import CodequarryEmbedding

    model = build_model(str(small_decoder), max_length=128, dims=(64,))
    model.save(str(tmp_path / "saved"))
    stock = own.HuggingFaceEmbedding(str(tmp_path / "saved"), device="cpu")
    ours = CodequarryEmbedding(str(tmp_path / "saved"), device="cpu")
    text = "def add(a, b):\n    return a + b"
    query, document = model.encode_query([text])[0], model.encode_document([text])[0]
    np.testing.assert_allclose(ours.get_query_embedding(text), query, atol=1e-6)
    np.testing.assert_allclose(ours.get_text_embedding(text), document, atol=1e-6)
    bare = model.encode([text], prompt="")[0]
    pairs = [(stock.get_query_embedding(text), query), (stock.get_text_embedding(text), document)]
    for found, right in pairs:
        np.testing.assert_allclose(found, bare, atol=1e-5)
        assert np.abs(np.subtract(found, right)).max() > 1e-3
