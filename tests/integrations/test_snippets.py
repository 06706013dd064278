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

# Checked after an example has run, in addition to its output: the vectors it worked with are the model's.
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
without_prompt = SentenceTransformersTextEmbedder(model=MODEL, progress_bar=False)
without_prompt.warm_up()
same(without_prompt.run("QUESTION")["embedding"], mini.encode(["QUESTION"], prompt="")[0])
""",
    "txtai": """
same(embeddings.batchtransform(texts, "data"), wanted)
same(embeddings.batchtransform(["QUESTION"], "query")[0], asked)
scores = dict(embeddings.search("QUESTION", len(paths)))
same([scores[path.as_posix()] for path in paths], wanted @ asked)
prompts = codequarry.load("mini").prompts
other = Embeddings(
    path=MODEL,
    method="sentence-transformers",
    vectors={"prompts": {"query": prompts["qa_query"], "document": prompts["qa_document"]}},
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


def test_every_program_of_the_page_has_an_example() -> None:
    assert list(EXAMPLES) == list(NEEDS)


@pytest.mark.parametrize("program", NEEDS)
def test_an_example_prints_what_the_page_says(program: str, tmp_path: Path) -> None:
    example = EXAMPLES[program]
    if missing(program):
        pytest.skip(f"{', '.join(missing(program))} missing: {example['install']}")
    check = _WANTED + CHECKS[program].replace("QUESTION", QUESTION) if program in CHECKS else ""
    ran = run(example["code"] + check, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == example["printed"]


PYTHON = re.compile(r"^```python\n(.+?)^```$", re.M | re.S)
RUN_HERE = {"docs/models.md": 3, "models/mini/README.md": 2}  # pages, and their blocks
# In tests/test_readme.py, above, and in tests/release/test_adapter.py.
RUN_ELSEWHERE = {"README.md", "integrations/README.md", "docs/release.md"}
# The client of a server, in a package that nothing here needs; a search in a folder of the reader's.
NOT_RUN = {"docs/serving.md", "docs/search.md"}


def test_the_python_of_every_page_is_run() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("integrations/**/*.md")]
    with_python = {
        page.relative_to(ROOT).as_posix() for page in pages if PYTHON.search(page.read_text("utf-8"))
    }
    assert with_python == {*RUN_HERE, *RUN_ELSEWHERE, *NOT_RUN} - {"models/mini/README.md"}


# The card's `path/to/mini` is a folder of that name.
@pytest.mark.parametrize("readme", RUN_HERE)
def test_the_python_of_a_page_runs_from_top_to_bottom(
    readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "path").mkdir()
    (tmp_path / "path/to").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    blocks = PYTHON.findall((ROOT / readme).read_text(encoding="utf-8"))
    assert len(blocks) == RUN_HERE[readme]
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, readme, "exec"), names)


def test_what_the_page_says_of_mini_without_prompt_and_without_newlines(mini: Any) -> None:
    question = "write a file so that nobody reads half of it"
    right, without = mini.encode_query([question])[0], mini.encode([question], prompt="")[0]
    said = re.search(rf'For the question "{question}", .+? has cosine (\S+) to the right one', README, re.S)
    assert said is not None
    assert f"{right @ without:.3f}" == said[1]
    text = (ROOT / "search/chunk.py").read_text(encoding="utf-8")
    kept, replaced = mini.encode_document([text, text.replace("\n", " ")], task="nl2code")
    np.testing.assert_allclose(kept, replaced, atol=1e-6)


@pytest.fixture(scope="module")
def saved(decoder: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of `decoder`, whose tokenizer distinguishes a newline from a space."""
    folder = str(tmp_path_factory.mktemp("decoder") / "saved")
    decoder.save(folder)
    return folder


CODE = "def add(a, b):\n    return a + b"
ON_ONE_LINE = CODE.replace("\n", " ")


def differ(found: Any, right: Any) -> bool:
    """Whether two vectors are further apart than any rounding."""
    return bool(np.abs(np.subtract(found, right)).max() > 1e-3)


def test_langchains_own_class_sends_no_prompt_by_default_and_drops_newlines(decoder: Any, saved: str) -> None:
    own = pytest.importorskip("langchain_huggingface", reason="pip install langchain-huggingface")
    stock = own.HuggingFaceEmbeddings(model_name=saved, model_kwargs={"device": "cpu"})
    bare = decoder.encode([ON_ONE_LINE], prompt="")[0]
    np.testing.assert_allclose(stock.embed_query(CODE), bare, atol=1e-6)
    np.testing.assert_allclose(stock.embed_documents([CODE])[0], bare, atol=1e-6)
    assert differ(bare, decoder.encode([CODE], prompt="")[0])

    one_prompt = {"encode_kwargs": {"prompt_name": "nl2code_document"}}
    one_name = own.HuggingFaceEmbeddings(model_name=saved, model_kwargs={"device": "cpu"}, **one_prompt)
    as_document = decoder.encode_document([ON_ONE_LINE])[0]
    np.testing.assert_allclose(one_name.embed_query(CODE), as_document, atol=1e-6)
    assert differ(as_document, decoder.encode_query([ON_ONE_LINE])[0])


def test_llama_indexs_own_class_empties_the_query_prompt_and_does_not_find_the_documents(
    decoder: Any, saved: str
) -> None:
    own = pytest.importorskip(
        "llama_index.embeddings.huggingface", reason="pip install llama-index-embeddings-huggingface"
    )
    stock = own.HuggingFaceEmbedding(saved, device="cpu")
    held = stock._model.prompts
    assert (held["query"], held["text"]) == ("", "")
    assert held["document"] == decoder.prompts["document"]
    bare = decoder.encode([CODE], prompt="")[0]
    np.testing.assert_allclose(stock.get_query_embedding(CODE), bare, atol=1e-6)
    np.testing.assert_allclose(stock.get_text_embedding(CODE), bare, atol=1e-6)
    assert differ(bare, decoder.encode_query([CODE])[0])
    assert differ(bare, decoder.encode_document([CODE])[0])
