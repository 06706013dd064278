"""sentence-transformers' trainer, with our batches, a record of them, and whole checkpoints."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler
from torch import nn
from torch.utils.data import ConcatDataset

from codequarry.modules.checkpoints import mark_complete
from codequarry.modules.one_task_per_batch import OneTaskPerBatch
from codequarry.modules.whole_files import write_json

_DRAWN = "drawn.json"


class PairTrainer(SentenceTransformerTrainer):
    """`SentenceTransformerTrainer` whose steps hold one source and task, over all ranks.

    Expects the training set as a dictionary of datasets, one a source and task, with the columns `query`,
    `document` and any number of `negative_N`, and `dataloader_drop_last`.

    shares: of the batches, by name of a source; None gives each what its size says.
    drawn: optimiser steps by name of a source, since the run began, whatever stopped it in between.
    """

    def __init__(self, *args: Any, shares: Mapping[str, float] | None = None, **kwargs: Any) -> None:
        self.shares = shares
        self.drawn: Counter[str] = Counter()
        super().__init__(*args, **kwargs)

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train, counting on from what the checkpoint had drawn."""
        drawn = Path(str(resume_from_checkpoint)) / _DRAWN
        self.drawn = Counter(json.loads(drawn.read_text("utf-8")) if resume_from_checkpoint else {})
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def should_dataset_name_column_be_added(self, *_: Any, **__: Any) -> bool:
        """Yes: without the name nobody knows what was drawn."""
        return True

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The loss of one step, whose source is counted."""
        if model.training:
            self.drawn[inputs["dataset_name"]] += 1
        return super().compute_loss(model, inputs, *args, **kwargs)

    def get_batch_sampler(
        self,
        dataset: Any,
        batch_size: int,
        drop_last: bool,
        *_: Any,
        generator: Any = None,
        seed: int = 0,
        **__: Any,
    ) -> NoDuplicatesBatchSampler:
        """Batches of one source for all ranks together, no text twice in any of them."""
        return NoDuplicatesBatchSampler(
            dataset, batch_size * self.args.world_size, drop_last, generator=generator, seed=seed
        )

    def get_multi_dataset_batch_sampler(
        self,
        dataset: ConcatDataset[object],
        batch_samplers: list[Any],
        generator: torch.Generator | None = None,
        seed: int | None = 0,
    ) -> OneTaskPerBatch:
        """Those batches, dealt out to the ranks."""
        sources: Any = self.train_dataset
        shares = None if self.shares is None else [self.shares[name] for name in sources]
        return OneTaskPerBatch(
            dataset, batch_samplers, generator or torch.Generator(), seed or 0, self.args.world_size, shares
        )

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Nothing: `model_card` renders cards; this callback would read every text and ask the Hub."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # transformers calls this on every rank, and sentence-transformers writes without asking which: two
        # ranks would write the same files at the same time.
        if self.args.should_save:
            super()._save(output_dir, state_dict)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # each rank writes its own random state
        if self.args.should_save:
            checkpoint = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
            write_json(checkpoint / _DRAWN, self.drawn)
            mark_complete(checkpoint)
