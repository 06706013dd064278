"""sentence-transformers' trainer with batches of one source, whole checkpoints, and an end that loses little.

Five private methods are overridden, `_get_grad_norm`, `_load_best_model`, `_load_from_checkpoint`,
`_get_output_dir` and `_save_checkpoint`; each says what the original does and why no callback and no public
method can stand in. They were read in transformers 5.3.0, 5.23.0 and 5.24.0 and in sentence-transformers
6.2.0. Everything else goes through public methods and callbacks, and no private attribute is used.
"""

import shutil
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformerTrainer
from torch import Tensor, nn
from torch.utils.data import ConcatDataset

from codequarry.common.errors import UserError, full_disk_as_user_error, is_out_of_memory
from codequarry.common.files import read_json, write_json
from codequarry.training.batch_sampler import NoTextTwice, OneTaskPerBatch
from codequarry.training.callbacks import SafeStop, Stopped
from codequarry.training.checkpoints import newest_complete, publish, remove_older, step_of, writing_folder
from codequarry.training.lora import has_adapter, read_adapter


class PairTrainer(SentenceTransformerTrainer):
    """`SentenceTransformerTrainer` whose steps hold one source and task, over all ranks.

    Expects the training set as a dictionary of datasets, one per source and task, with the columns `query`,
    `document` and any number of `negative_N`, and `dataloader_drop_last`. A loss may have `progress`, which
    is set before each step to the share of the steps that are done, `last_terms`, a dictionary of numbers
    whose means are logged with the loss, and `masks_right_documents`, see `NoTextTwice`. A resumed run logs
    and counts as if it had not been stopped.

    shares: of the batches, by name of a source; None: in proportion to its size.
    drawn: optimiser steps by name of a source, since the run began.
    seconds: of training since the run began; steps that a killed run has to repeat count once.
    """

    drawn: Counter[str]
    _terms: dict[str, Any]  # of the loss, summed since the last log line
    _term_steps: int
    _loss_since_log: Tensor  # sum over the steps of this rank
    _loss_before: float  # sum over the steps up to the last log line, mean of all ranks
    _began: float  # by the monotonic clock, less the seconds before the checkpoint
    _ended: float | None

    def __init__(self, *args: Any, shares: Mapping[str, float] | None = None, **kwargs: Any) -> None:
        self.shares = shares
        self.stop = SafeStop()
        super().__init__(*args, **kwargs)
        self.args.logging_nan_inf_filter = False  # it hides a NaN, and waits for the GPU to do it
        self.add_callback(self.stop)
        self._finite = FiniteSteps(at_once=self.args.device.type == "cpu")
        self._step_loss: Tensor = torch.zeros(())
        self._writing = False
        self._set_counts({})

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train; counts continue from those of the checkpoint.

        Raises Stopped after Ctrl-C or SIGTERM, and UserError, with what to do, when a step is not a number,
        memory runs out or the disk is full. The last checkpoint is whole in each case.
        """
        self._set_counts(self._counted_in(resume_from_checkpoint))
        try:
            with self.stop:
                result = super().train(resume_from_checkpoint, *args, **kwargs)
        except NotFiniteError as error:
            raise UserError(
                f"{error}, and none of it was kept. {self._kept()} The same command would come here again: "
                f"lower learning_rate (it is {self.args.learning_rate:g}), with --fresh or another --out."
            ) from error
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(
                f"out of memory in step {self.state.global_step + 1}: {str(error).splitlines()[0]} "
                f"{self._kept()} Set grad_cache=on or lower mini_batch_tokens, or set memory_gb to what a "
                "step may take: it computes the same in smaller parts, and the run resumes in its folder. "
                "Or lower batch_size or max_length, with --fresh or another --out."
            ) from error
        if self.stop.stopped:
            raise Stopped(
                f"stopped after step {self.state.global_step} of {self.state.max_steps}; the same command, "
                "without --fresh, resumes there."
                if self.is_world_process_zero()
                else ""
            )
        return result._replace(training_loss=result.metrics["train_loss"])

    @property
    def seconds(self) -> float:
        """Seconds of training since the run began."""
        return (self._ended or time.monotonic()) - self._began

    def should_dataset_name_column_be_added(self, *_: Any, **__: Any) -> bool:
        """Yes: what was drawn is counted by it."""
        return True

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The loss of one step, whose source is counted."""
        if not model.training:
            return super().compute_loss(model, inputs, *args, **kwargs)
        self.drawn[inputs["dataset_name"]] += 1
        if hasattr(self.loss, "progress"):
            self.loss.progress = self.state.global_step / self.state.max_steps
        # Around all mini-batches, so that autocast casts each weight once a step and not once a mini-batch.
        with self.accelerator.autocast():
            loss: Any = super().compute_loss(model, inputs, *args, **kwargs)
        for name, term in getattr(self.loss, "last_terms", {}).items():
            self._terms[name] = self._terms.get(name, 0.0) + term
        self._term_steps += 1
        self._step_loss = loss.detach()
        self._loss_since_log += self._step_loss
        return loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log, with the mean of the loss and of each term of it since the last line.

        transformers starts its sums anew when it resumes: the first line would be the mean of fewer steps,
        and the loss, the seconds and the speed of the run those of its last part.
        """
        if "loss" in logs:
            self._finite.check()
            total = float(self.accelerator.gather(self._loss_since_log).mean())
            logs["loss"] = total / self._term_steps
            logs |= {name: float(term) / self._term_steps for name, term in self._terms.items()}
            self._loss_before += total
            self._loss_since_log = torch.zeros_like(self._loss_since_log)
            self._terms, self._term_steps = {}, 0
        if "train_runtime" in logs:  # the summary, which transformers logs after the last step
            self._ended = time.monotonic()
            steps = self.state.global_step
            pairs = steps * self.args.train_batch_size * self.args.world_size
            logs["train_loss"] = (self._loss_before + float(self._loss_since_log)) / max(steps, 1)
            logs["train_runtime"] = round(self.seconds, 4)
            logs["train_samples_per_second"] = round(pairs / self.seconds, 3)
            logs["train_steps_per_second"] = round(steps / self.seconds, 3)
        super().log(logs, *args, **kwargs)

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """The batches of one step; none where early stopping had ended the run before it was killed."""
        if self.control.should_training_stop:
            return [], None
        return super().get_batch_samples(*args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model, on the rank that writes.

        Newer versions of transformers call this on every rank, and sentence-transformers writes on each: two
        ranks would write the same files at the same time.
        """
        if self.args.should_save:
            super().save_model(output_dir, _internal_call)

    def get_batch_sampler(
        self, dataset: Any, batch_size: int, drop_last: bool, *_: Any, seed: int = 0, **__: Any
    ) -> NoTextTwice:
        """Batches of one source for all ranks together, no query and no document twice in any of them."""
        repeat = bool(getattr(self.loss, "masks_right_documents", False))
        return NoTextTwice(dataset, batch_size * self.args.world_size, seed, negatives_repeat=repeat)

    def get_multi_dataset_batch_sampler(
        self, dataset: ConcatDataset[object], batch_samplers: list[Any], generator: Any = None, seed: Any = 0
    ) -> OneTaskPerBatch:
        """Those batches, split over the ranks; a run is one epoch of them."""
        sources: Any = self.train_dataset
        shares = None if self.shares is None else [self.shares[name] for name in sources]
        steps = self.args.max_steps if self.args.max_steps > 0 else None
        shuffle, ranks = generator or torch.Generator(), self.args.world_size
        return OneTaskPerBatch(
            dataset, batch_samplers, shuffle, seed or 0, ranks, shares, steps, names=list(sources)
        )

    def texts_to_draw(self) -> dict[str, dict[str, list[str]]]:
        """By source and column, the texts that the whole run draws, each once."""
        train_dataset: Any = self.train_dataset
        sources, size, seed = list(train_dataset.values()), self.args.train_batch_size, self.args.seed
        samplers = [self.get_batch_sampler(source, size, True, seed=seed) for source in sources]
        batches = self.get_multi_dataset_batch_sampler(ConcatDataset(sources), samplers, seed=seed)
        return dict(zip(train_dataset, batches.drawn_texts(self.args.max_steps), strict=True))

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Nothing: `model_card` renders cards; this callback would read every text and ask the Hub."""

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        # Returns the gradient's length for the log. Called between clipping and the optimiser's step, after
        # the gradients of all ranks are averaged, with the length before clipping. `on_pre_optimizer_step`
        # comes right after it without that length: there it would take a second pass over all gradients,
        # which are clipped by then.
        length = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        # float16's scaler skips steps that overflow and lowers its scale: there only the loss counts.
        seen = self._step_loss if self.accelerator.scaler is not None else torch.as_tensor(length)
        self._finite.see(self.state.global_step + 1, self._step_loss, seen)
        return length

    def _load_best_model(self) -> None:
        # Loads the best checkpoint; called once after the last step with `load_best_model_at_end`.
        # sentence-transformers logs an error in it and keeps the last weights; a run must end with the error.
        assert self.state.best_model_checkpoint is not None
        self._load_from_checkpoint(self.state.best_model_checkpoint)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # Loads weights; called by `train` before the loop, and by `_load_best_model`. sentence-transformers
        # builds a second model from the folder, whose adapter has the backbone's number format: see
        # `read_adapter`.
        embedder: Any = self.model
        if has_adapter(embedder):
            read_adapter(embedder, Path(resume_from_checkpoint))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint)

    def _get_output_dir(self, trial: Any) -> str:
        # Returns `args.output_dir`; called by `_save_checkpoint` for the folder to write `checkpoint-N`
        # into, and at the end to list checkpoints. Another `args.output_dir` would be saved with the model.
        folder = Path(super()._get_output_dir(trial))
        return str(writing_folder(folder) if self._writing else folder)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        # Writes model, optimiser, random and trainer state, and removes old checkpoints; called on every
        # rank when `control.should_save` is set. `on_save` comes only after it: until then a half-written
        # folder would have the name of a whole one, and a full disk would be a traceback.
        self._finite.check()
        check_weights(model, self.state.global_step)
        folder = Path(str(self.args.output_dir))
        name = f"checkpoint-{self.state.global_step}"
        written = writing_folder(folder) / name
        advice = f"{self._kept()} The same command, without --fresh, then resumes."
        self._writing = True  # transformers writes into `written`, where it finds nothing to rotate
        try:
            what = f"the checkpoint of step {self.state.global_step}"
            with full_disk_as_user_error(folder, what, advice, self._size()):
                super()._save_checkpoint(model, trial)
                write_json(written / _counts_file(self.args.process_index), self._counts())
                self.accelerator.wait_for_everyone()  # each rank writes its own random state and counts
                if self.args.should_save:
                    if self.state.best_global_step == self.state.global_step:
                        self.state.best_model_checkpoint = str(folder / name)
                        self.state.save_to_json(str(written / "trainer_state.json"))
                    publish(written, folder / name)
        except BaseException:
            shutil.rmtree(written.parent, ignore_errors=True)  # it takes space and cannot be used
            raise
        finally:
            self._writing = False
        if self.args.should_save:
            best = self.state.best_model_checkpoint
            remove_older(folder, keep=self.args.save_total_limit or 0, best=Path(best) if best else None)
        self.accelerator.wait_for_everyone()  # a rank that ends here must not take the first one with it

    def _set_counts(self, counts: Mapping[str, Any]) -> None:
        """Continue from what `_counts` gave; from nothing with {}."""
        self.drawn = Counter(counts.get("drawn", {}))
        self._terms = dict(counts.get("terms", {}))
        self._term_steps = counts.get("term_steps", 0)
        self._loss_since_log = torch.tensor(counts.get("loss_since_log", 0.0), device=self.args.device)
        self._loss_before = counts.get("loss_before", 0.0)
        self._began, self._ended = time.monotonic() - counts.get("seconds", 0.0), None

    def _counts(self) -> dict[str, Any]:
        """What this rank has counted."""
        return {
            "drawn": self.drawn,
            "seconds": round(self.seconds, 3),
            "terms": {name: float(total) for name, total in self._terms.items()},
            "term_steps": self._term_steps,
            "loss_since_log": float(self._loss_since_log),
            "loss_before": self._loss_before,
        }

    def _counted_in(self, checkpoint: Any) -> dict[str, Any]:
        if not checkpoint:
            return {}
        file = Path(str(checkpoint)) / _counts_file(self.args.process_index)
        if not file.is_file():  # there were fewer ranks then
            file = file.with_name(_counts_file(0))
        counts: dict[str, Any] = read_json(file)
        return counts

    def _kept(self) -> str:
        """What a run that ends now has kept, as a sentence."""
        kept = newest_complete(Path(str(self.args.output_dir)), check=False)
        return f"Step {step_of(kept)} is kept in {kept}." if kept else "No checkpoint had been written yet."

    def _size(self) -> int:
        """Bytes of a checkpoint, about: the weights, and AdamW's two moments of each that is trained."""
        return sum(
            weight.numel() * weight.element_size() * (3 if weight.requires_grad else 1)
            for weight in self.model.parameters()
        )


def _counts_file(rank: int) -> str:
    return f"counts_{rank}.json"


class NotFiniteError(UserError):
    """A loss, a gradient or a weight is infinite or not a number."""


class FiniteSteps:
    """Checks the loss and the gradient's length of every step before the optimiser's step.

    On a CPU a bad step is refused before it is applied. On a GPU that check would synchronise at every step;
    so the first bad step is noted on the GPU, and `check` reads the note when the loss is logged and before
    anything is saved. Steps in between are lost, never kept.

    at_once: refuse a bad step when it is seen, not at the next `check`.
    """

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once
        self._first_bad: Tensor | None = None  # optimiser step, 0 for none; on the loss's device

    def see(self, step: int, loss: Tensor, length: Tensor) -> None:
        """Note whether a step is bad; with `at_once` raise NotFiniteError for it.

        Arguments: `loss` and `length` of the whole gradient, scalars on the same device. A gradient with one
        bad number has a bad length.
        """
        if self._first_bad is None:
            self._first_bad = torch.zeros((), dtype=torch.int64, device=loss.device)
        bad = ~(torch.isfinite(loss.detach()) & torch.isfinite(length))
        self._first_bad = torch.where(bad & (self._first_bad == 0), step, self._first_bad)
        if self.at_once:
            self.check()

    def check(self) -> None:
        """Raise NotFiniteError when any step seen was bad, with the first."""
        if self._first_bad is not None and (step := int(self._first_bad)):
            self._first_bad = None
            raise NotFiniteError(f"the loss or the gradient of step {step} is infinite or not a number")


def check_weights(model: nn.Module, step: int) -> None:
    """Raise NotFiniteError when any weight is infinite or not a number after `step`; a GPU synchronises."""
    largest = nn.utils.get_total_norm(list(model.parameters()), norm_type=torch.inf)
    if not torch.isfinite(largest):
        raise NotFiniteError(f"after step {step} a weight is infinite or not a number")
