import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.data_collator import BaseDataCollator
from sentence_transformers.base.losses.gradcache import _create_minibatch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import DataCollatorWithFlattening

from codequarry.common.files import text_ids
from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.tasks import CODE
from codequarry.training.collator import PairCollator
from codequarry.training.distillation import TeacherVectors, write_teacher_vectors
from codequarry.training.token_cache import TokenCache

NAME = "rosetta:code2code"
PROMPTS = {
    NAME: {
        "query": CODE.prompts()["code2code_query"],
        "document": CODE.prompts()["code2code_document"],
        "negative_1": CODE.prompts()["code2code_document"],
    }
}
ROWS = [
    {
        "query": f"query {n}\r\nwith <|endoftext|>",
        "document": "word " * length,
        "negative_1": f"ünlike {n} " * (9 - n),
        "dataset_name": NAME,
    }
    for n, length in enumerate([3, 400, 1, 17, 1, 60])
]
COLUMNS = ("query", "document", "negative_1")


@pytest.fixture(scope="module", params=["MiniLM", "a decoder"])
def model(request: pytest.FixtureRequest) -> CodeEmbedder:
    if request.param == "MiniLM":
        return build_model(
            str(request.getfixturevalue("minilm")), pooling="mean", max_length=96, device="cpu"
        )
    return build_model(str(request.getfixturevalue("small_decoder")), max_length=96, device="cpu")


def collator(model: CodeEmbedder, folder: Path, packed: bool, **arguments: Any) -> PairCollator:
    pad_id = model.tokenizer.pad_token_id
    return PairCollator(TokenCache(model[0], folder), PROMPTS, packed, pad_id, **arguments)


def test_a_padded_batch_is_what_sentence_transformers_makes_of_these_rows_but_for_the_order(
    model: CodeEmbedder, tmp_path: Path
) -> None:
    found = collator(model, tmp_path, packed=False)(ROWS)
    for column in COLUMNS:
        rows = [ROWS[row] for row in longest_first(model, column)]
        wanted = BaseDataCollator(preprocess_fn=model.preprocess, prompts=PROMPTS)(rows)
        for key in ("input_ids", "attention_mask"):
            name = f"{column}_{key}"
            assert found[name].dtype == torch.int64
            assert torch.equal(found[name], wanted[name])
        assert found[f"{column}_modality"] == wanted[f"{column}_modality"] == "text"
    assert found["dataset_name"] == NAME


def longest_first(model: CodeEmbedder, column: str) -> list[int]:
    """The rows in the order of a column's token counts; equal ones stay in their order."""
    lengths = [
        len(model.preprocess([row[column]], prompt=PROMPTS[NAME][column])["input_ids"][0]) for row in ROWS
    ]
    return sorted(range(len(ROWS)), key=lambda row: -lengths[row])


@pytest.mark.parametrize("offset", [0, 2])
def test_a_packed_batch_is_what_transformers_flattening_makes_of_it(
    model: CodeEmbedder, tmp_path: Path, offset: int
) -> None:
    flatten = DataCollatorWithFlattening(return_flash_attn_kwargs=True, return_seq_idx=True)
    found = collator(model, tmp_path, packed=True, position_offset=offset)(ROWS)
    for column in COLUMNS:
        order = longest_first(model, column)
        texts = [ROWS[row][column] for row in order]
        ids = [
            model.preprocess([text], prompt=PROMPTS[NAME][column])["input_ids"][0].tolist() for text in texts
        ]
        wanted = dict(flatten([{"input_ids": one} for one in ids]))
        del wanted["labels"]
        wanted["position_ids"] += offset
        wanted |= {
            "modality": "text",
            "place": torch.tensor([order.index(row) for row in range(len(ROWS))]),
            "text_id": torch.from_numpy(text_ids([row[column] for row in ROWS])),
        }
        mine = {key.removeprefix(f"{column}_"): found[key] for key in found if key.startswith(f"{column}_")}
        assert mine.keys() == wanted.keys()
        for key, value in wanted.items():
            if isinstance(value, torch.Tensor):
                assert mine[key].dtype == value.dtype, key
                assert torch.equal(mine[key], value), key
            else:
                assert mine[key] == value, key


def test_the_features_of_a_column_are_cut_into_mini_batches_by_sentence_transformers(
    model: CodeEmbedder, tmp_path: Path
) -> None:
    """Packed and padded parts hold the same tokens."""
    parts = {}
    for packed in (True, False):
        batch = collator(model, tmp_path, packed)(ROWS)
        features, labels = SentenceTransformerTrainer.collect_features(None, batch)  # type: ignore[arg-type]
        assert labels is None
        assert [set(column) for column in features] == [set(features[0])] * 3, "one dictionary a column"
        for column in features:
            column.pop("text_id")
            column.pop("place")
        parts[packed] = _create_minibatch(features[1], 2, 5)
    tokens = parts[False]["input_ids"][parts[False]["attention_mask"] == 1]
    assert torch.equal(parts[True]["input_ids"][0], tokens)
    assert parts[True]["cu_seq_lens_q"].tolist()[0] == 0
    assert parts[True]["seq_idx"].max() == 2


def test_the_longest_texts_of_each_column_come_first_and_place_leads_back_to_the_pairs(
    model: CodeEmbedder, tmp_path: Path
) -> None:
    found = collator(model, tmp_path, packed=False)(ROWS)
    for column in COLUMNS:
        lengths = found[f"{column}_attention_mask"].sum(1)
        assert lengths.tolist() == sorted(lengths.tolist(), reverse=True)
        texts = [row[column] for row in ROWS]
        assert found[f"{column}_text_id"].tolist() == text_ids(texts).tolist()
        for text, place in zip(texts, found[f"{column}_place"], strict=True):
            alone = model.preprocess([text], prompt=PROMPTS[NAME][column])["input_ids"][0]
            assert torch.equal(found[f"{column}_input_ids"][place, : lengths[place]], alone)


def test_the_teacher_speaks_of_each_columns_bare_texts(model: CodeEmbedder, tmp_path: Path) -> None:
    texts = sorted({row[column] for row in ROWS for column in COLUMNS})
    vectors = np.arange(len(texts) * 4, dtype=np.float32).reshape(-1, 4)
    of = dict(zip(texts, vectors, strict=True))
    write_teacher_vectors(tmp_path / "teacher", texts, lambda some: np.stack([of[t] for t in some]), "t")
    teacher = TeacherVectors(tmp_path / "teacher")
    found = collator(model, tmp_path, packed=True, teacher=teacher)(ROWS)
    for column in COLUMNS:
        assert found[f"{column}_teacher"].dtype == torch.float32
        wanted = np.stack([of[row[column]] for row in ROWS])
        assert np.array_equal(found[f"{column}_teacher"].numpy(), wanted)


def test_what_cannot_be_a_batch_is_refused_with_its_column_and_source(
    model: CodeEmbedder, tmp_path: Path
) -> None:
    collate = collator(model, tmp_path, packed=False)
    with pytest.raises(ValueError, match=r"2 sources, \['other:qa', 'rosetta:code2code'\]"):
        collate([ROWS[0], ROWS[1] | {"dataset_name": "other:qa"}])
    with pytest.raises(ValueError, match="no prompt is known for column 'query' of 'other:qa'"):
        collate([ROWS[0] | {"dataset_name": "other:qa"}])
    with pytest.raises(ValueError, match=r"column 'document' of 'rosetta:code2code': text \d of \d is empty"):
        collate([ROWS[0], ROWS[1] | {"document": "\n"}])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_trainer_takes_it_as_its_collator_and_workers_give_the_same_batches(
    model: CodeEmbedder, tmp_path: Path, workers: int
) -> None:
    rows = {column: [row[column] + f" {n}" for n, row in enumerate(ROWS * 2)] for column in COLUMNS}
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=4, use_cpu=True, report_to="none",
        dataloader_num_workers=workers, prompts=PROMPTS, dataloader_drop_last=True,
    )  # fmt: skip
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=DatasetDict({NAME: Dataset.from_dict(rows)}),
        loss=MultipleNegativesRankingLoss(model),
        data_collator=collator(model, tmp_path / "tokens", packed=True),  # type: ignore[arg-type]
    )
    found = list(trainer.get_train_dataloader())
    assert len(found) == 3
    drawn = [number for batch in found for number in batch["document_text_id"].tolist()]
    assert sorted(drawn) == sorted(text_ids(rows["document"]).tolist())
    again = pickle.loads(pickle.dumps(trainer.data_collator))
    assert torch.equal(again(ROWS)["query_input_ids"], trainer.data_collator(ROWS)["query_input_ids"])
