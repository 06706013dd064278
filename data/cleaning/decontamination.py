"""Which texts are in an evaluation set, whole, renamed, reformatted or as a part.

Four looks at a text, the strictest first:

same text: word for word, spaces and case aside, however short it is.
same code: word for word once the comments are gone, where at least 8 tokens are left.
near-duplicate: from 12 tokens on, at least 0.8 of all three-token runs shared (`near_duplicates`).
shared runs: it holds at least half of the ten-token runs of an evaluation text that has 20 or more.

Half and 20 come from reading what lies at the border, 273k pairs against ten sets. From half up there are
true copies: a function under another name, the same solution carried over into another language, a snippet
inside a page of documentation. At 0.4 there are idioms: the same loop over a table, another recurrence in
it. Below 20 runs a half is a commonplace: `{ get; set; }` twice, one call of a library, a line of asterisks.
For the same reason runs are not counted that stand in more than 10 evaluation texts: includes, tracebacks.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codequarry.data.deduplication import Known, normal_form, shingles, tokens, without_comments
from codequarry.data.eval_set import EvalSet

SAME_TEXT, SAME_CODE = "evaluation: same text", "evaluation: same code"
NEAR, SHARED_RUNS = "evaluation: near-duplicate", "evaluation: shared runs"
LOOKS = (SAME_TEXT, SAME_CODE, NEAR, SHARED_RUNS)
MIN_CODE = 8  # tokens left when the comments are gone
RUN = 10  # tokens
MIN_RUNS = 20  # different runs of an evaluation text; shorter ones are compared whole only
MIN_SHARE = 0.5  # of an evaluation text's runs
_COMMONPLACE = 10  # evaluation texts that hold a run


@dataclass(frozen=True, slots=True)
class Contamination:
    """A text of an evaluation set that was found in another, and how.

    look: one of `LOOKS`.
    eval_set: the set's name.
    text: the evaluation text.
    """

    look: str
    eval_set: str
    text: str


class EvaluationTexts:
    """Every query and document of some evaluation sets, to be looked for in training texts.

    A text of several sets counts for the first of them.
    """

    def __init__(self, sets: Iterable[EvalSet], *, progress: bool = True) -> None:
        self.set_of: dict[str, str] = {}
        for one in sets:
            for text in (*one.queries.values(), *one.documents.values()):
                if text.strip():
                    self.set_of.setdefault(text, one.name)
        self._texts = list(self.set_of)
        self._whole: dict[bytes, str] = {}
        self._bare: dict[bytes, str] = {}
        for text in self._texts:
            self._whole.setdefault(normal_form(text), text)
            if bare := _bare_form(text):
                self._bare.setdefault(bare, text)
        self._near = Known(self._texts, progress=progress)
        self._runs = _Runs(self._texts)

    @property
    def fingerprint(self) -> str:
        """A sha256 over sets and texts."""
        whole = hashlib.sha256()
        for text, name in self.set_of.items():
            whole.update(f"{name}\0{len(text)}\0{text}".encode("utf-8", "surrogatepass"))
        return whole.hexdigest()

    def find(self, texts: Sequence[str], *, progress: bool = True) -> list[Contamination | None]:
        """For each text the first look that finds something in it; None for a clean one."""
        unique = list(dict.fromkeys(texts))
        near = self._near.alike(unique, progress=progress)
        found = {text: self._look(text, alike) for text, alike in zip(unique, near, strict=True)}
        return [found[text] for text in texts]

    def _look(self, text: str, alike: int | None) -> Contamination | None:
        bare = _bare_form(text)
        looks = (
            (SAME_TEXT, self._whole.get(normal_form(text))),
            (SAME_CODE, self._bare.get(bare) if bare else None),
            (NEAR, None if alike is None else self._texts[alike]),
        )
        for look, other in looks:
            if other is not None:
                return Contamination(look, self.set_of[other], other)
        part = self._runs.most_of(text)
        return None if part is None else Contamination(SHARED_RUNS, self.set_of[part], part)


class _Runs:
    """The ten-token runs of evaluation texts, and the texts that contain each of them."""

    def __init__(self, texts: Sequence[str]) -> None:
        of_text = [np.unique(shingles(tokens(text), RUN)) for text in texts]
        runs = np.concatenate([np.empty(0, np.uint64), *of_text])
        owners = np.repeat(np.arange(len(texts)), [len(some) for some in of_text])
        _, place, count = np.unique(runs, return_inverse=True, return_counts=True)
        telling = count[place] <= _COMMONPLACE
        sizes = np.bincount(owners[telling], minlength=len(texts))
        telling &= sizes[owners] >= MIN_RUNS
        order = np.argsort(runs[telling], kind="stable")
        self.texts = texts
        self.owners = owners[telling][order]
        self.sizes = sizes
        self.runs, self.starts, self.counts = np.unique(
            runs[telling][order], return_index=True, return_counts=True
        )

    def most_of(self, text: str) -> str | None:
        """The evaluation text of whose runs this one holds the greatest share, if at least half."""
        mine = np.unique(shingles(tokens(text), RUN))
        if not len(mine) or not len(self.runs):
            return None
        at: NDArray[np.intp] = np.minimum(np.searchsorted(self.runs, mine), len(self.runs) - 1)
        at = at[self.runs[at] == mine]
        if len(at) < MIN_RUNS * MIN_SHARE:
            return None
        held = np.concatenate([self.owners[self.starts[i] : self.starts[i] + self.counts[i]] for i in at])
        owners, shared = np.unique(held, return_counts=True)
        share = shared / self.sizes[owners]
        best = int(np.argmax(share))
        return self.texts[owners[best]] if share[best] >= MIN_SHARE else None


def _bare_form(text: str) -> bytes | None:
    bare = without_comments(text)
    return normal_form(bare) if len(tokens(bare)) >= MIN_CODE else None
