"""sentence-transformers' trainer, with our batches and whole checkpoints."""

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler
from torch import nn
from torch.utils.data import ConcatDataset

from codequarry.modules.checkpoints import mark_complete
from codequarry.modules.one_task_per_batch import OneTaskPerBatch


class PairTrainer(SentenceTransformerTrainer):
    """`SentenceTransformerTrainer` whose steps hold one source and task, over all ranks.

    Expects the training set as a dictionary of datasets, one a source and task, with the columns `query`,
    `document` and any number of `negative_N`, and `dataloader_drop_last`.
    """

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
        return OneTaskPerBatch(
            dataset, batch_samplers, generator or torch.Generator(), seed or 0, ranks=self.args.world_size
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
            mark_complete(Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}")
