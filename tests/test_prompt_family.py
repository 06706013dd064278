"""A second prompt family, from its recipe through training and release to whoever embeds with the model."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

import codequarry
from codequarry.benchmarks.models import benchmark_model
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs
from codequarry.inference.encoder import Encoder, served
from codequarry.integrations.mteb import MtebEncoder
from codequarry.integrations.serve.openai_schema import openai_models
from codequarry.model_card.card import JINA, taken_and_left
from codequarry.modules import tasks
from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.golden_vectors import GOLDEN
from codequarry.modules.tasks import CODE, TASKS, PromptFamily
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.release.build import build
from codequarry.release.card import card_of
from codequarry.release.config_checks import check_fields
from codequarry.release.trained_run import RunFolder
from codequarry.release.verify import verify
from codequarry.train import train
from codequarry.training.token_cache import TokenCache

QUERY, DOCUMENT = "task: code retrieval | query: ", "title: none | text: "
GEMMA = PromptFamily("gemma", dict.fromkeys(TASKS, (QUERY, DOCUMENT)))
PROMPTS = "config_sentence_transformers.json"
SMALL = [
    "backbone.shape.hidden_size=64", "backbone.shape.layers=2", "backbone.shape.heads=4",
    "backbone.shape.intermediate_size=128", "backbone.shape.vocabulary=600", "matryoshka_dims=[64, 16]",
    "max_length=96", "batch_size=8", "mini_batch_tokens=512", "precision=fp32", "validation=none",
    "max_steps=1", "prompts=gemma",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """`gemma` among the registered families."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "FAMILIES", {"code": CODE, "gemma": GEMMA})
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step; every prefix that its texts were trained behind is one of the family's."""
    folder = tmp_path_factory.mktemp("gemma")
    pairs = [
        Pair("qa", f"how to do {n}", f"def do_{n}(x):\n    return x + {n}", "a", "python") for n in range(8)
    ]
    write_pairs(folder / "pairs/a.jsonl.gz", pairs)
    prefixes = set()
    token_ids = TokenCache.token_ids

    def watched(self: TokenCache, texts: Any, prompt: str) -> Any:
        prefixes.add(prompt)
        return token_ids(self, texts, prompt)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TokenCache, "token_ids", watched)
        settings = [f"data={folder / 'pairs'}", *SMALL]
        train(recipe_path("nano"), folder / "run", settings=settings, logs=["none"])
    assert prefixes == {QUERY, DOCUMENT}
    return folder / "run"


@pytest.fixture(scope="module")
def release(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(run, tmp_path_factory.mktemp("releases") / "gemma", progress=False)


@pytest.fixture(scope="module")
def model(release: Path) -> CodeEmbedder:
    return codequarry.load(str(release), device="cpu")


def test_a_recipe_names_a_registered_family_and_no_other() -> None:
    assert read_recipe(recipe_path("nano"), ["prompts=gemma"]).prompts == "gemma"
    with pytest.raises(ValueError, match=r"prompts = 'gema' in recipe nano: .* the families are code, gemma"):
        read_recipe(recipe_path("nano"), ["prompts=gema"])


def test_a_family_that_is_not_registered_is_loaded_from_its_texts(
    small_decoder: Path, tmp_path: Path
) -> None:
    own = PromptFamily(None, {task: (f"{task}: ", "") for task in TASKS}, "code2code")
    built = build_model(str(small_decoder), max_length=96, prompts=own)
    built.save(str(tmp_path))
    loaded = codequarry.load(str(tmp_path))
    assert loaded.prompt_family == own
    expected = built.encode(["x"], prompt="qa: ")
    np.testing.assert_allclose(loaded.encode_query(["x"], task="qa"), expected, atol=1e-6)
    without = built.encode(["x"], prompt="")
    np.testing.assert_allclose(loaded.encode_document(["x"], task="qa"), without, atol=1e-6)


def test_run_and_release_carry_it_and_put_it_in_front_of_each_side(run: Path, model: CodeEmbedder) -> None:
    assert json.loads((run / "training.json").read_text())["recipe"]["prompts"] == "gemma"
    assert codequarry.load(str(run)).prompt_family == model.prompt_family == GEMMA
    stock = SentenceTransformer(str(run), device="cpu")
    for task in TASKS:
        query, document = stock.encode(["x"], prompt=QUERY), stock.encode(["x"], prompt=DOCUMENT)
        np.testing.assert_allclose(model.encode_query(["x"], task=task), query, atol=1e-6)
        np.testing.assert_allclose(model.encode_document(["x"], task=task), document, atol=1e-6)
    np.testing.assert_allclose(model.encode_query(["x"]), query, atol=1e-6)


def test_its_release_is_verified_and_stock_readers_give_its_golden_vectors(
    release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codequarry.release.verify.runtimes", lambda *_, **__: [])  # a minute of processes
    verification = verify(release, progress=False)
    assert verification.ok, verification.table()
    golden = json.loads((release / GOLDEN).read_text())
    assert golden["prompts"] == GEMMA.prompts()
    stock = SentenceTransformer(str(release), device="cpu")
    for row in golden["rows"][:12]:  # two a task, and the plain prompts
        prefix = DOCUMENT if "document" in row["prompt_name"] else QUERY
        named = stock.encode(row["text"], prompt_name=row["prompt_name"])
        for vector in (named, stock.encode(prefix + row["text"])):
            np.testing.assert_allclose(vector, row["vector"], atol=1e-6)


@pytest.mark.parametrize(
    ("prompts", "recipe", "problem"),
    [
        (
            GEMMA.prompts() | {"qa_query": "Q: "},
            {"prompts": "gemma"},
            'prompt qa_query is "Q: "',
        ),
        (CODE.prompts(), {"prompts": "gemma"}, f'the task\'s is "{DOCUMENT}"'),
        (GEMMA.prompts(), {}, "the task's is \"Candidate"),  # a record without a family means `code`
        (GEMMA.prompts(), {"prompts": "gema"}, "'gema' is not a prompt family"),
    ],
)
def test_prompts_of_another_family_than_the_recipe_names_are_found(
    release: Path, tmp_path: Path, prompts: dict[str, str], recipe: dict[str, str], problem: str
) -> None:
    spoilt = Path(shutil.copytree(release, tmp_path / "spoilt"))
    config = json.loads((spoilt / PROMPTS).read_text())
    (spoilt / PROMPTS).write_text(json.dumps(config | {"prompts": prompts}))
    record = json.loads((spoilt / "training.json").read_text())
    del record["recipe"]["prompts"]
    (spoilt / "training.json").write_text(json.dumps(record | {"recipe": record["recipe"] | recipe}))
    assert problem in "\n".join(check_fields(spoilt))
    with pytest.raises(ValueError, match=r"other prompts than the family|is not a prompt family"):
        RunFolder.read(spoilt)


def test_its_card_shows_it_and_does_not_claim_the_prompts_of_a_paper(release: Path) -> None:
    text = (release / "README.md").read_text()
    assert r"| `qa_query` | `" + json.dumps(QUERY).replace("|", r"\|") + "` |" in text
    assert json.dumps(QUERY + "parse an ISO 8601 date") in text
    assert not any(json.dumps(prompt) in text for prompt in CODE.prompts().values())
    card = card_of(RunFolder.read(release), load_as="x", dtype="fp32", in_memory=None)
    assert "prompts, word for word" in taken_and_left(card, JINA).partition("Not taken: ")[2]


def test_its_gguf_files_carry_it(release: Path, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="GGUF is an extra: pip install 'codequarry[gguf]'")
    from codequarry.release.gguf import PROMPT_KEY, check_gguf, export_gguf

    folder = export_gguf(release, tmp_path / "gemma-GGUF", ["f16"])
    fields = gguf.GGUFReader(folder / "gemma-f16.gguf").fields
    saved = {name: fields[PROMPT_KEY.format(name)].contents() for name in GEMMA.prompts()}
    assert saved == GEMMA.prompts()
    assert check_gguf(folder) == []
    assert json.dumps(QUERY) in (folder / "README.md").read_text()


def test_server_search_and_benchmarks_take_it_from_the_model(model: CodeEmbedder) -> None:
    row = served(model, "gemma")
    assert dict(row.prompts) == GEMMA.prompts()
    names = {entry["id"] for entry in openai_models(row)["data"]}
    assert names == {"gemma"} | {f"gemma:{name}" for name in GEMMA.prompts()}
    assert Encoder(model).space("qa").prefix == DOCUMENT
    assert benchmark_model("gemma", model).prompt("code2nl", "query") == QUERY
    assert MtebEncoder(model)._prompt("CosQA", "document") == DOCUMENT
