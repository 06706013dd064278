"""Token ids into vectors: batches, the shared prefix, pooling and normalisation around a forward pass."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from codequarry.common.errors import UserError
from codequarry.inference.runtime import bert, qwen2
from codequarry.inference.runtime.attention import Group, Prefix, groups_of
from codequarry.inference.runtime.batches import TOKENS, TOKENS_INT8, batches
from codequarry.inference.runtime.int8 import Calibration, is_supported
from codequarry.inference.runtime.linear import COPIED_AT_MOST, FIXED_ROWS, Linear, MakeLinear

PoolingMode = Literal["mean", "lasttoken", "cls"]

_ARCHITECTURES: dict[str, tuple[Any, type[Any], tuple[PoolingMode, ...]]] = {
    "bert": (bert.unsupported, bert.Bert, ("mean", "cls")),
    "qwen2": (qwen2.unsupported, qwen2.Qwen2, ("lasttoken",)),
}

_PREFIXES = 16  # that are kept: two for each task and a few of the user's
_SHORTEST_PREFIX = 2  # tokens; a shorter one saves less than it costs


class Unsupported(Exception):
    """The packed runtime does not compute this model; its message says why, as the end of a sentence."""


@dataclass(frozen=True)
class Plan:
    """What is computed, without weights.

    config: of the backbone. pooling: of the model. normalize: whether it ends in a Normalize module.
    """

    config: Mapping[str, Any]
    pooling: PoolingMode
    normalize: bool

    def __post_init__(self) -> None:
        """Raises Unsupported for what no engine computes."""
        kind = str(self.config.get("model_type"))
        if kind not in _ARCHITECTURES:
            raise Unsupported(f"its architecture is {kind}, not one of {', '.join(_ARCHITECTURES)}")
        unsupported, _, poolings = _ARCHITECTURES[kind]
        if why := unsupported(self.config):
            raise Unsupported(why)
        if self.pooling not in poolings:
            raise Unsupported(f"{kind} with {self.pooling} pooling is not computed here")


class Engine:
    """A model's forward pass over packed texts, in one number format.

    Arguments:
        plan: what is computed.
        weight: gives a weight by its name in transformers' model.
        dtype: to compute in, float32 or bfloat16. Sums of the residual of a decoder, pooling and
            normalisation are float32 in both.
        copied: whether weights may be copied, merged and reordered, for speed; None: those of a backbone
            below 256 MB, and all in bfloat16.
        batch_invariant: whether a text's vector has the same bits whatever it is computed with.
        calibration: token ids of texts by which linear layers are put into 8-bit integers (`int8.py`), the
            rest in float32; None for all in `dtype`.

    Raises Unsupported for weights that are missing, and without operations for 8-bit integers.

    >>> Engine(plan, tensors.__getitem__, torch.float32).vectors([[101, 2023, 102]])
    """

    def __init__(
        self,
        plan: Plan,
        weight: Callable[[str], Tensor],
        dtype: torch.dtype,
        *,
        copied: bool | None = None,
        batch_invariant: bool = False,
        calibration: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.plan, self.dtype, self.batch_invariant = plan, dtype, batch_invariant
        _, architecture, _ = _ARCHITECTURES[str(plan.config["model_type"])]
        if copied is None:
            copied = 4 * _linear_weights(plan.config) <= COPIED_AT_MOST
        fixed_rows = FIXED_ROWS if batch_invariant else None

        def forward(linear: MakeLinear) -> Any:
            try:
                return architecture(plan.config, weight, dtype, linear, fused=batch_invariant)
            except KeyError as error:
                raise Unsupported(f"its weights have no {error.args[0]}") from error

        self._prefixes: OrderedDict[tuple[int, ...], list[Prefix]] = OrderedDict()
        self._computing = threading.Lock()
        self._int8 = calibration is not None
        if calibration is None:
            self._forward = forward(partial(Linear, dtype=dtype, copy=copied, fixed_rows=fixed_rows))
        else:
            if not is_supported():
                raise Unsupported(f"torch {torch.__version__} has no products of 8-bit integers here")
            ranges = Calibration()
            self._forward = forward(ranges.observed)
            self.vectors(calibration)
            self._forward = forward(ranges.in_int8)

    @property
    def causal(self) -> bool:
        """Whether a prefix can be computed once for many texts."""
        return bool(self._forward.causal)

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        return int(self._forward.hidden_size)

    @torch.inference_mode()
    def vectors(
        self,
        texts: Sequence[Sequence[int]],
        *,
        prefixes: Iterable[tuple[int, ...]] = (),
        advance: Callable[[int], object] | None = None,
    ) -> Tensor:
        """Vectors `(texts, dim)` in float32, of length 1 where the model normalises.

        Arguments:
            texts: the token ids of each, at least one.
            prefixes: ids that texts may begin with: a causal model computes the longest that a text begins
                with once for all of these, and for later calls. Other texts are computed whole.
            advance: called with the number of texts of each batch that is done.

        Raises UserError for a text that is longer than the model has positions for.
        """
        lengths, limit = [len(text) for text in texts], self._forward.max_tokens
        if limit is not None and max(lengths, default=0) > limit:
            raise UserError(
                f"a text has {max(lengths)} tokens, and the model has positions for {limit}: lower its "
                "max_seq_length."
            )
        with torch.autocast("cpu", enabled=False) if self._int8 else nullcontext():
            return self._vectors(texts, lengths, prefixes, advance)

    def _vectors(
        self,
        texts: Sequence[Sequence[int]],
        lengths: Sequence[int],
        prefixes: Iterable[tuple[int, ...]],
        advance: Callable[[int], object] | None,
    ) -> Tensor:
        if len(texts) == 1:
            (front,) = self._by_prefix(texts, prefixes)
            found = self._batch([texts[0][len(front) :]], len(front), self._prefix(front) if front else None)
            if advance is not None:
                advance(1)
            return found
        found = torch.empty(len(texts), self._forward.hidden_size)
        tokens = TOKENS_INT8 if self._int8 else TOKENS
        for front, chosen in self._by_prefix(texts, prefixes).items():
            cached = self._prefix(front) if front else None
            for batch in batches([lengths[place] - len(front) for place in chosen], tokens=tokens):
                places = [chosen[one] for one in batch]
                found[places] = self._batch(
                    [texts[place][len(front) :] for place in places], len(front), cached
                )
                if advance is not None:
                    advance(len(places))
        return found

    def _by_prefix(
        self, texts: Sequence[Sequence[int]], prefixes: Iterable[tuple[int, ...]]
    ) -> dict[tuple[int, ...], list[int]]:
        """The positions of the texts that share each prefix; of those with none under ()."""
        if not self.causal or self.batch_invariant:
            return {(): list(range(len(texts)))}
        usable = sorted({one for one in prefixes if len(one) >= _SHORTEST_PREFIX}, key=len, reverse=True)
        found: dict[tuple[int, ...], list[int]] = {}
        for place, text in enumerate(texts):
            begins = (one for one in usable if len(text) > len(one) and tuple(text[: len(one)]) == one)
            found.setdefault(next(begins, ()), []).append(place)
        return found

    def _batch(self, texts: list[Sequence[int]], offset: int, prefix: list[Prefix] | None) -> Tensor:
        """Texts sorted by length, without their first `offset` tokens."""
        if len(texts) == 1:  # a query, of which arrays of one number would take 5%
            length = len(texts[0])
            lengths, ends = np.array([length]), np.array([length])
            ids, positions = torch.tensor(texts[0]), torch.arange(offset, offset + length)
            groups = [Group(0, 1, length)]
        else:
            lengths = np.array([len(text) for text in texts])
            ends = np.cumsum(lengths)
            ids = torch.from_numpy(np.concatenate(texts).astype(np.int64))
            positions = torch.from_numpy(np.arange(ends[-1]) - np.repeat(ends - lengths, lengths) + offset)
            groups = groups_of(lengths.tolist())
        rows = {"mean": None, "lasttoken": ends - 1, "cls": ends - lengths}[self.plan.pooling]
        picked = None if rows is None else torch.from_numpy(rows)
        more = {"prefix": prefix} if prefix is not None else {}
        hidden: Tensor = self._forward(ids, positions, groups, picked, **more)
        if picked is None:
            hidden = torch.cat(
                [
                    hidden[group.start : group.end].view(group.texts, group.length, -1).float().mean(dim=1)
                    for group in groups
                ]
            )
        hidden = hidden.float()
        return functional.normalize(hidden, dim=-1) if self.plan.normalize else hidden

    def _prefix(self, ids: tuple[int, ...]) -> list[Prefix]:
        with self._computing:
            if ids not in self._prefixes:
                self._prefixes[ids] = self._forward.prefix_of(torch.tensor(ids))
                if len(self._prefixes) > _PREFIXES:
                    self._prefixes.popitem(last=False)
            self._prefixes.move_to_end(ids)
            return self._prefixes[ids]


def _linear_weights(config: Mapping[str, Any]) -> int:
    """About how many weights the layers have."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    products = 3 if config["model_type"] == "qwen2" else 2
    return int(config["num_hidden_layers"] * (4 * hidden * hidden + products * hidden * inner))
