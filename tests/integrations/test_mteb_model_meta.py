import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pytest
from datasets import Dataset
from huggingface_hub import ModelCard
from mteb.models.model_meta import ModelMeta
from mteb.types import PromptType
from torch.utils.data import DataLoader

from codequarry.data.catalog.registry import TRAIN_SOURCES, paper_sets
from codequarry.integrations import mteb_model_meta
from codequarry.integrations.mteb import BENCHMARK_TASKS
from codequarry.integrations.mteb_model_meta import model_meta, mteb_prompts
from codequarry.modules.backbone import EMBEDDED_BASE, MINI_FOLDER, resolve_backbone
from codequarry.modules.tasks import CODE, TASKS, PromptFamily

PUBLISHED = {"name": "someone/mini", "revision": "abc", "release_date": "2026-11-21"}
TEXTS = ["sort a list", "def f(a):\n    return sorted(a)"]


@pytest.fixture(scope="module")
def meta() -> ModelMeta:
    return model_meta(MINI_FOLDER, **PUBLISHED)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MINI_FOLDER, tmp_path / "mini"))


@pytest.fixture(scope="module")
def loaded(meta: ModelMeta, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """What MTEB loads by the entry, in a folder where the Hub name is a local path."""
    here = tmp_path_factory.mktemp("hub")
    (here / "someone").mkdir()
    (here / "someone" / "mini").symlink_to(MINI_FOLDER)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        with pytest.warns(UserWarning, match="Model prompts specified"):  # it says what it was told
            model = meta.load_model(device="cpu")
        yield model


def test_what_the_entry_says_is_what_the_loaded_model_is(meta: ModelMeta, mini: Any) -> None:
    assert meta.n_parameters == sum(weights.numel() for weights in mini.parameters())
    assert meta.n_embedding_parameters == mini[0].model.get_input_embeddings().weight.numel()
    loaded_bytes = sum(weights.numel() * weights.element_size() for weights in mini.parameters())
    assert meta.memory_usage_mb == round(loaded_bytes / 1024**2)
    assert meta.max_tokens == mini.max_seq_length
    assert meta.embed_dim == list(mini.matryoshka_dims)
    assert meta.license == "apache-2.0"
    assert meta.adapted_from == "sentence-transformers/all-MiniLM-L6-v2"


def asked_by_mteb(model: Any, benchmark_task: str, side: PromptType) -> Any:
    """The vectors of TEXTS as MTEB asks for them while it scores a task."""
    return model.encode(
        DataLoader(Dataset.from_dict({"text": TEXTS}), batch_size=2),
        task_metadata=mteb.get_task(benchmark_task).metadata,
        hf_split="test",
        hf_subset="default",
        prompt_type=side,
        show_progress_bar=False,
    )


@pytest.mark.parametrize("name", ["CosQA", "CodeFeedbackST", "COIRCodeSearchNetRetrieval"])
def test_mteb_puts_the_prompt_of_our_task_on_each_side_of_its_own(loaded: Any, mini: Any, name: str) -> None:
    task = BENCHMARK_TASKS[name].task
    for side, encode in ((PromptType.query, mini.encode_query), (PromptType.document, mini.encode_document)):
        found = asked_by_mteb(loaded, name, side)
        np.testing.assert_allclose(found, encode(TEXTS, task=task), atol=1e-6)


def test_mteb_takes_every_prompt_name_as_valid() -> None:
    from mteb.models.abs_encoder import AbsEncoder

    names = mteb_prompts(CODE)
    kept, problems = AbsEncoder.validate_task_to_prompt_name(names, raise_for_invalid_keys=False)
    assert not problems
    assert kept == names


def test_a_task_without_a_row_gets_the_plain_prompts(loaded: Any, mini: Any) -> None:
    found = asked_by_mteb(loaded, "SciFact", PromptType.query)
    np.testing.assert_allclose(found, mini.encode_query(TEXTS), atol=1e-6)


def with_record(folder: Path, **fields: Any) -> set[str] | None:
    """The training sets that are declared for `folder` when its record says `fields`."""
    record = json.loads((folder / "training.json").read_text())
    (folder / "training.json").write_text(json.dumps(record | fields))
    declared: set[str] | None = model_meta(folder, **PUBLISHED).training_datasets
    return declared


def test_the_sets_that_were_trained_on_are_declared(folder: Path) -> None:
    rows = [
        {"source": "CoSQA", "task": "nl2code", "pairs": 9, "pairs_drawn": 9},
        {"source": "StackOverflowQA", "task": "qa", "pairs": 9},
        {"source": "wikisql", "task": "nl2code", "pairs": 9, "pairs_drawn": 0},
        {"source": "someone/repository", "task": "qa", "pairs": 9, "pairs_drawn": 9},
    ]
    random = {"backbone": {"name": EMBEDDED_BASE, "weights": "random"}}
    assert with_record(folder, data=rows, recipe=random) == {"CosQA", "StackOverflowQA"}


def test_mini_declares_what_its_own_record_and_the_card_of_its_base_name(meta: ModelMeta) -> None:
    drawn = {
        row["source"]
        for row in json.loads((MINI_FOLDER / "training.json").read_text())["data"]
        if row["pairs_drawn"]
    }
    assert {"wikisql", "rosetta_code2code", "so_codenn"} <= drawn
    base_card = (resolve_backbone(EMBEDDED_BASE) / "README.md").read_text()
    assert "code_search_net" in ModelCard(base_card).data.datasets
    assert meta.training_datasets == {
        "WikiSQLRetrieval",
        "CodeTransOceanContest",
        "CodeRAGStackoverflowPosts",
        "CodeSearchNetRetrieval",
        "COIRCodeSearchNetRetrieval",
    }
    assert not meta.is_zero_shot_on(["CodeTransOceanContest"])
    assert meta.is_zero_shot_on(["AppsRetrieval"])


def test_a_model_trained_from_mini_has_seen_what_mini_has(meta: ModelMeta, folder: Path) -> None:
    rows = [{"source": "CoSQA", "task": "nl2code", "pairs": 9, "pairs_drawn": 9}]
    of_mini = {"backbone": {"name": "mini", "weights": "pretrained"}}
    assert with_record(folder, data=rows, recipe=of_mini) == {"CosQA"} | meta.training_datasets


def test_every_source_that_stands_for_a_benchmark_task_is_one_of_ours_or_the_papers() -> None:
    known = {*TRAIN_SOURCES, *paper_sets()}
    rows = [row for row in BENCHMARK_TASKS.values() if row.same_data]
    assert {source for row in rows for source in row.same_data} <= known
    declared = {row.name for row in rows}.union(*mteb_model_meta._BASE_DATA.values())
    assert declared <= {row.name for row in BENCHMARK_TASKS.values() if row.kind != "local"}


def test_the_text_to_propose_is_python_that_gives_the_same_entry(meta: ModelMeta) -> None:
    from mteb.models.model_meta import ScoringFunction
    from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper

    names = {
        "ModelMeta": ModelMeta,
        "SentenceTransformerEncoderWrapper": SentenceTransformerEncoderWrapper,
        "ScoringFunction": ScoringFunction,
    }
    assert eval(meta.to_python(), names) == meta


def test_the_prompts_are_those_of_the_folder(folder: Path) -> None:
    own = PromptFamily(None, {task: (f"{task} | query: ", "title: none | text: ") for task in TASKS})
    config = json.loads((folder / "config_sentence_transformers.json").read_text())
    (folder / "config_sentence_transformers.json").write_text(json.dumps(config | {"prompts": own.prompts()}))
    entry = model_meta(folder, **PUBLISHED)
    assert entry.loader_kwargs["model_prompts"] == mteb_prompts(own)
    assert mteb_prompts(own)["StackOverflowQA-query"] == "qa | query: "


def test_what_only_the_publisher_knows_is_passed_on(folder: Path) -> None:
    meta = model_meta(folder, **PUBLISHED, contacts=["somebody"])
    assert meta.contacts == ["somebody"]


def test_a_folder_without_card_or_record_is_a_sentence(folder: Path) -> None:
    (folder / "README.md").unlink()
    (folder / "training.json").unlink()
    with pytest.raises(ValueError, match=r"training\.json, README\.md missing"):
        model_meta(folder, **PUBLISHED)
