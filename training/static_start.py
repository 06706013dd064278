"""The rows that a static model is trained from, and its tokenizer, which is trained on the recipe's pairs."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codequarry.common.errors import UserError
from codequarry.modules.backbone import StaticShape
from codequarry.recipes.schema import Recipe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Rows = npt.NDArray[Any]

_TEXTS = 120_000  # that the tokenizer is trained on, evenly over the data: half a minute of one core
_TOGETHER = 1024  # texts that are tokenised in one call
_SHORT = 200  # characters of a text that rows are fitted to, at most: a teacher's time goes with the length
_TIE = 0.3  # of a row to where it begins, as strong as so many texts of that token alone
_ITERATIONS = 40  # after 30 the cosine of means and wanted vectors rises by less than 0.002
_DEVIATION = 0.1  # of a number of a random row; a teacher's vectors are brought to the same


def write_static_start(folder: Path, recipe: Recipe, texts: Iterable[str], device: str) -> Path:
    """Write an untrained static model to `folder`, whole or not at all; one that is there is kept.

    Arguments: `texts`, of the pairs that train: its tokenizer is trained on some of them; `device`, where a
    teacher of the rows runs.
    """
    import torch
    from sentence_transformers.sentence_transformer.modules import Normalize

    from codequarry.modules.embedder import CodeEmbedder
    from codequarry.modules.static_embedding import PromptedStaticEmbedding, StaticConfig
    from codequarry.modules.static_tokenizer import train_static_tokenizer
    from codequarry.modules.tasks import get_family

    if folder.exists():
        return folder
    shape, family = recipe.backbone.static, get_family(recipe.prompts)
    assert shape is not None
    size, every = recipe.matryoshka_dims[0], list(texts)
    some = _spread(every, _TEXTS)
    tokenizer = train_static_tokenizer(some, shape.vocabulary, family)
    weights = np.ones(tokenizer.get_vocab_size())
    if shape.start_frequency is not None:
        weights = shape.start_frequency / (shape.start_frequency + _shares(tokenizer, some))
    rows = (
        _teachers_rows(tokenizer, weights, shape, _short(every, shape.start_texts), size, device)
        if shape.start
        else np.random.default_rng(recipe.seed).standard_normal((len(weights), size)) * weights[:, None]
    )
    module = PromptedStaticEmbedding(
        tokenizer,
        torch.from_numpy((_DEVIATION * rows / rows.std()).astype(np.float32)),
        config=StaticConfig(matryoshka_dimensions=list(recipe.matryoshka_dims)),
    )
    writing = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(writing, ignore_errors=True)
    CodeEmbedder(modules=[module, Normalize()], prompts=family.prompts(), device="cpu").save(str(writing))
    writing.replace(folder)
    return folder


def _spread(texts: list[str], most: int) -> list[str]:
    """At most so many of the texts, evenly over them."""
    return texts[:: -(-len(texts) // most)] if texts else texts


def _short(texts: list[str], most: int) -> list[str]:
    """At most so many different texts of up to `_SHORT` characters, evenly over all of them."""
    found = list(dict.fromkeys(text for text in texts if len(text) <= _SHORT)) if most else []
    return _spread(found, most)


def _shares(tokenizer: "Tokenizer", texts: list[str]) -> Rows:
    """The share of each token in all tokens of the texts, `(tokens,)`."""
    counts = np.zeros(tokenizer.get_vocab_size())
    for start in range(0, len(texts), _TOGETHER):
        ids = _ids(tokenizer, texts[start : start + _TOGETHER])
        counts += np.bincount(np.concatenate(ids), minlength=len(counts))
    found: Rows = counts / max(1.0, counts.sum())
    return found


def _ids(tokenizer: "Tokenizer", texts: list[str]) -> list[npt.NDArray[np.int64]]:
    found = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [np.array(one.ids, dtype=np.int64) for one in found]


def _teachers_rows(
    tokenizer: "Tokenizer", weights: Rows, shape: StaticShape, texts: list[str], size: int, device: str
) -> Rows:
    """What a teacher makes of each token alone, weighted, and fitted to what it makes of some texts.

    Vectors are taken less their mean, along `size` principal axes. So do model2vec's models begin, which are
    not trained after it. The axes come largest first, as truncated rows need them. A part of a letter, and
    what the teacher reads no token in, begins as a row of zeros.
    """
    from codequarry.modules.backbone import resolve_backbone
    from codequarry.modules.embedder import CodeEmbedder
    from codequarry.modules.text_checks import empty_texts
    from codequarry.training.distillation import TeacherVectors, stored_vectors

    teacher = CodeEmbedder(str(resolve_backbone(shape.start)), device=device)

    def centred(some: list[str]) -> Rows:
        vectors = TeacherVectors(stored_vectors(teacher, some, device)).of(some)
        return np.asarray(vectors - vectors.mean(axis=0))

    tokens = [tokenizer.decode([number]) for number in range(tokenizer.get_vocab_size())]
    silent = {place for place, token in enumerate(tokens) if "\ufffd" in token} | {
        *empty_texts(teacher, tokens)
    }
    heard = [place for place in range(len(tokens)) if place not in silent]
    of_tokens = centred([tokens[place] for place in heard])
    if of_tokens.shape[1] < size:
        raise UserError(
            f"{shape.start} gives vectors of {of_tokens.shape[1]} numbers, and the static model is to have "
            f"{size}: name another start, or begin matryoshka_dims with a smaller size."
        )
    empty = {*empty_texts(teacher, texts)}
    ids = _ids(tokenizer, texts)
    kept = [place for place in range(len(texts)) if place not in empty and len(ids[place])]
    of_texts = centred([texts[place] for place in kept]) if kept else of_tokens[:0]
    axes = np.linalg.svd(np.concatenate([of_tokens, of_texts]), full_matrices=False)[2][:size]
    rows = np.zeros((len(tokens), size))
    rows[heard] = of_tokens @ axes.T
    rows *= weights[:, None]
    return _fitted(rows, [ids[place] for place in kept], of_texts @ axes.T) if kept else rows


def _fitted(rows: Rows, ids: list[npt.NDArray[np.int64]], wanted: Rows) -> Rows:
    """The rows whose means over the ids of each text are nearest to `wanted` `(texts, size)`.

        min over X:  sum over texts |mean of X[ids] - wanted|^2  +  _TIE |X - c rows|^2

    with c the factor by which the means of `rows` fit best. By conjugate gradients, all columns at once.
    """
    import torch
    from torch.nn.functional import embedding_bag

    flat = torch.from_numpy(np.concatenate(ids))
    lengths = torch.tensor([len(one) for one in ids])
    starts = lengths.cumsum(0) - lengths
    leaf = torch.zeros(rows.shape, requires_grad=True)
    at_zero = embedding_bag(flat, leaf, starts, mode="mean")

    def means(x: "torch.Tensor") -> "torch.Tensor":
        return embedding_bag(flat, x, starts, mode="mean")

    def spread_back(y: "torch.Tensor") -> "torch.Tensor":  # the transpose of `means`
        return torch.autograd.grad(at_zero, leaf, y, retain_graph=True)[0]

    with torch.no_grad():
        x, target = torch.from_numpy(rows).float(), torch.from_numpy(wanted).float()
        x *= (means(x) * target).sum() / means(x).square().sum()
        rest = spread_back(target - means(x))
        direction, squares = rest.clone(), rest.square().sum(0)
        for _ in range(_ITERATIONS):
            ahead = spread_back(means(direction)) + _TIE * direction
            step = squares / (direction * ahead).sum(0).clamp(min=1e-12)
            x += step * direction
            rest -= step * ahead
            before, squares = squares, rest.square().sum(0)
            direction = rest + squares / before.clamp(min=1e-12) * direction
    return x.numpy()
