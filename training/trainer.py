"""sentence-transformers' trainer with our batches, whole checkpoints, and an end that loses little.

Five methods without a public name are overridden here, `_get_grad_norm`, `_load_best_model`,
`_load_from_checkpoint`, `_get_output_dir` and `_save_checkpoint`; each says what it does and why no callback
and no public method can. They were read in transformers 5.3.0, 5.23.0 and 5.24.0 and in sentence-transformers
6.2.0. Everything else goes through public methods and callbacks, and no private attribute is used.
"""

import json
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

from codequarry.common.errors import full_disk_as_user_error, is_out_of_memory
from codequarry.common.files import write_json
from codequarry.training.batch_sampler import NoTextTwice, OneTaskPerBatch
from codequarry.training.callbacks import SafeStop, Stopped
from codequarry.training.checkpoints import newest_complete, publish, remove_older, step_of, writing_folder
from codequarry.training.lora import has_adapter, read_adapter


class PairTrainer(SentenceTransformerTrainer):
    """`SentenceTransformerTrainer` whose steps hold one source and task, over all ranks.

    Expects the training set as a dictionary of datasets, one a source and task, with the columns `query`,
    `document` and any number of `negative_N`, and `dataloader_drop_last`. A loss may have `progress`, which
    is set before each step to the share of the steps that are done, and `last_terms`, a dictionary of
    numbers whose means are logged beside the loss.

    A run that was stopped and goes on from a checkpoint logs and counts what it would have, had it not been
    stopped.

    shares: of the batches, by name of a source; None gives each what its size says.
    drawn: optimiser steps by name of a source, since the run began, whatever stopped it in between.
    seconds: of training since the run began; what was done after the last checkpoint of a run that was
        killed is done again and counts once.
    """

    def __init__(self, *args: Any, shares: Mapping[str, float] | None = None, **kwargs: Any) -> None:
        self.shares = shares
        self.drawn: Counter[str] = Counter()
        self.stop = SafeStop()
        super().__init__(*args, **kwargs)
        self.args.logging_nan_inf_filter = False  # it hides a NaN, and waits for the GPU to do it
        self.add_callback(self.stop)
        self._finite = FiniteSteps(at_once=self.args.device.type == "cpu")
        self._terms: dict[str, Any] = {}  # of the loss, summed since the last log line
        self._term_steps = 0
        self._step_loss: Tensor = torch.zeros(())
        self._loss_since_log: Tensor = torch.zeros(())  # sum over the steps of this rank
        self._loss_before = 0.0  # sum over the steps up to the last log line, mean of all ranks
        self._writing = False
        self._began = time.monotonic()  # less what earlier sittings took
        self._ended: float | None = None

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train, counting on from what the checkpoint had drawn.

        Raises Stopped after Ctrl-C or SIGTERM, and ValueError, with what to do, when a step is not a number,
        memory runs out or the disk is full. The last checkpoint is whole in each case.
        """
        counted = self._counted_in(resume_from_checkpoint)
        self.drawn = Counter(counted.get("drawn", {}))
        self._terms = dict(counted.get("terms", {}))
        self._term_steps = counted.get("term_steps", 0)
        self._loss_since_log = torch.tensor(counted.get("loss_since_log", 0.0), device=self.args.device)
        self._loss_before = counted.get("loss_before", 0.0)
        self._began, self._ended = time.monotonic() - counted.get("seconds", 0.0), None
        try:
            with self.stop:
                result = super().train(resume_from_checkpoint, *args, **kwargs)
        except NotFiniteError as error:
            raise ValueError(
                f"{error}, and none of it was kept. {self._kept()} The same command would come here again: "
                f"lower learning_rate (it is {self.args.learning_rate:g}), with --fresh or another --out."
            ) from error
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise ValueError(
                f"out of memory in step {self.state.global_step + 1}: {str(error).splitlines()[0]} "
                f"{self._kept()} Set grad_cache=on or lower mini_batch_tokens: a step computes the same in "
                "smaller parts, and the run goes on in its folder. Or lower batch_size or "
                "max_length, with --fresh or another --out."
            ) from error
        if self.stop.stopped:
            raise Stopped(
                f"stopped after step {self.state.global_step} of {self.state.max_steps}; the same command, "
                "without --fresh, goes on from there."
                if self.is_world_process_zero()
                else ""
            )
        return result._replace(training_loss=result.metrics["train_loss"])

    @property
    def seconds(self) -> float:
        """Seconds of training since the run began."""
        return (self._ended or time.monotonic()) - self._began

    def should_dataset_name_column_be_added(self, *_: Any, **__: Any) -> bool:
        """Yes: without the name nobody knows what was drawn."""
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
        and the loss, the seconds and the speed of the run those of its last part. These count from the
        checkpoint on.
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

        Newer versions of transformers save on every rank, and sentence-transformers does not ask which: two
        ranks would write the same files at the same time.
        """
        if self.args.should_save:
            super().save_model(output_dir, _internal_call)

    def get_batch_sampler(
        self, dataset: Any, batch_size: int, drop_last: bool, *_: Any, seed: int = 0, **__: Any
    ) -> NoTextTwice:
        """Batches of one source for all ranks together, no text twice in any of them."""
        return NoTextTwice(dataset, batch_size * self.args.world_size, seed)

    def get_multi_dataset_batch_sampler(
        self,
        dataset: ConcatDataset[object],
        batch_samplers: list[Any],
        generator: torch.Generator | None = None,
        seed: int | None = 0,
    ) -> OneTaskPerBatch:
        """Those batches, dealt out to the ranks; a run is one epoch of them."""
        sources: Any = self.train_dataset
        shares = None if self.shares is None else [self.shares[name] for name in sources]
        return OneTaskPerBatch(
            dataset,
            batch_samplers,
            generator or torch.Generator(),
            seed or 0,
            self.args.world_size,
            shares,
            steps=self.args.max_steps if self.args.max_steps > 0 else None,
        )

    def texts_to_draw(self) -> list[str]:
        """The texts of all columns that the whole run draws, each once."""
        sources: Any = self.train_dataset
        seed = self.args.seed
        samplers = [
            self.get_batch_sampler(source, self.args.train_batch_size, True, seed=seed)
            for source in sources.values()
        ]
        batches = self.get_multi_dataset_batch_sampler(ConcatDataset(sources.values()), samplers, seed=seed)
        return batches.drawn_texts(self.args.max_steps)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Nothing: `model_card` renders cards; this callback would read every text and ask the Hub."""

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        # Called between clipping and the optimiser's step, after the gradients of all ranks are one, with the
        # length before clipping. `on_pre_optimizer_step` comes right after it without that length: there it
        # would take a second pass over all gradients, which are clipped by then.
        length = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        # float16's scaler leaves out steps that overflow and scales less: there only the loss counts.
        seen = self._step_loss if self.accelerator.scaler is not None else torch.as_tensor(length)
        self._finite.see(self.state.global_step + 1, self._step_loss, seen)
        return length

    def _load_best_model(self) -> None:
        # Called once after the last step with `load_best_model_at_end`. sentence-transformers logs what goes
        # wrong here and keeps the last weights; a run must end with an error instead.
        assert self.state.best_model_checkpoint is not None
        self._load_from_checkpoint(self.state.best_model_checkpoint)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # Called by `train` before the loop, and by `_load_best_model`. sentence-transformers loads a whole
        # model and has no way to read a checkpoint that holds an adapter's weights only.
        embedder: Any = self.model
        if has_adapter(embedder):
            read_adapter(embedder, Path(resume_from_checkpoint))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint)

    def _get_output_dir(self, trial: Any) -> str:
        # Called by `_save_checkpoint` for the folder that `checkpoint-N` is written into, and at the end to
        # list checkpoints. The public `args.output_dir` cannot stand in for it: it is saved with the model.
        folder = Path(super()._get_output_dir(trial))
        return str(writing_folder(folder) if self._writing else folder)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        # Called when `control.should_save` is set, on every rank; writes model, optimiser, random state and
        # trainer state, and removes old checkpoints. `on_save` comes only after it: a half-written folder
        # would have the name of a whole one until then, and a full disk could not be explained.
        self._finite.check()
        check_weights(model, self.state.global_step)
        folder = Path(str(self.args.output_dir))
        name = f"checkpoint-{self.state.global_step}"
        written = writing_folder(folder) / name
        advice = f"{self._kept()} The same command, without --fresh, then goes on."
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
            shutil.rmtree(written.parent, ignore_errors=True)  # it takes room, and is of no use
            raise
        finally:
            self._writing = False
        if self.args.should_save:
            best = self.state.best_model_checkpoint
            remove_older(folder, keep=self.args.save_total_limit or 0, best=Path(best) if best else None)
        self.accelerator.wait_for_everyone()  # a rank that ends here must not take the first one with it

    def _counts(self) -> dict[str, Any]:
        """What this rank has counted, for `_counted_in`."""
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
        counts: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return counts

    def _kept(self) -> str:
        """What a run that ends now has kept, as a sentence."""
        kept = newest_complete(Path(str(self.args.output_dir)), check=False)
        return f"Step {step_of(kept)} is kept in {kept}." if kept else "No checkpoint had been written yet."

    def _size(self) -> int:
        """Bytes of a checkpoint, about: the weights, and AdamW's two numbers for each that is trained."""
        return sum(
            weight.numel() * weight.element_size() * (3 if weight.requires_grad else 1)
            for weight in self.model.parameters()
        )


def _counts_file(rank: int) -> str:
    return f"counts_{rank}.json"


class NotFiniteError(ValueError):
    """A loss, a gradient or a weight is infinite or not a number."""


class FiniteSteps:
    """Looks at the loss and the gradient's length of every step, before the optimiser does.

    On a processor a bad step is refused before it is applied. On a GPU that look would make the processor
    wait for every step, with nothing queued behind it; so the first bad step is noted on the GPU, and
    `check` reads the note when the loss is logged anyway and before anything is saved. Steps in between are
    lost, never kept.

    at_once: refuse a bad step when it is seen, not at the next `check`.
    """

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once
        self._first_bad: Tensor | None = None  # optimiser step, 0 for none; on the loss's device

    def see(self, step: int, loss: Tensor, length: Tensor) -> None:
        """Look at one step.

        Arguments: `loss` and `length` of the whole gradient, each a number on the same device. A gradient
        with one bad number has a bad length.

        Raises NotFiniteError when told to refuse at once.
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
    """Raise NotFiniteError when any weight is infinite or not a number after `step`.

    The largest absolute number of all weights is read, which makes a GPU wait once.
    """
    largest = nn.utils.get_total_norm(list(model.parameters()), norm_type=torch.inf)
    if not torch.isfinite(largest):
        raise NotFiniteError(f"after step {step} a weight is infinite or not a number")
