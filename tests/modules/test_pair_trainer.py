from pathlib import Path

import pytest
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from codequarry.modules.build import build_model
from codequarry.modules.pair_trainer import PairTrainer


@pytest.fixture
def trainer(small_decoder: Path, tmp_path: Path) -> PairTrainer:
    model = build_model(str(small_decoder), max_length=96, device="cpu")
    rows = {"query": [f"q {n}" for n in range(8)], "document": [f"d {n}" for n in range(8)]}
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=4,
        max_steps=1,
        save_steps=1,
        use_cpu=True,
        dataloader_drop_last=True,
        report_to="none",
        disable_tqdm=True,
    )
    sources = {"s:qa": Dataset.from_dict(rows)}
    loss = MultipleNegativesRankingLoss(model)
    return PairTrainer(model=model, args=arguments, train_dataset=sources, loss=loss)


def test_a_rank_that_is_not_to_save_writes_nothing(
    trainer: PairTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(trainer.args), "should_save", False)
    trainer.save_model(str(tmp_path / "other rank"))
    assert not (tmp_path / "other rank").exists()
    monkeypatch.setattr(type(trainer.args), "should_save", True)
    trainer.save_model(str(tmp_path / "rank 0"))
    assert (tmp_path / "rank 0/model.safetensors").exists()


def test_a_checkpoint_is_marked_complete_and_carries_no_card_of_the_trainers(trainer: PairTrainer) -> None:
    trainer.train()
    checkpoint = Path(trainer.args.output_dir) / "checkpoint-1"
    assert (checkpoint / "complete").exists()
    assert not (checkpoint / "README.md").exists()


def test_what_was_drawn_is_counted_on_from_a_checkpoint(trainer: PairTrainer) -> None:
    trainer.train()
    assert trainer.drawn == {"s:qa": 1}
    trainer.args.max_steps = 3
    trainer.train(resume_from_checkpoint=str(Path(trainer.args.output_dir) / "checkpoint-1"))
    assert trainer.drawn == {"s:qa": 3}, "one before the checkpoint, two after"
    trainer.train()
    assert trainer.drawn == {"s:qa": 3}, "a new run begins at nothing"
