"""The rows that a static model is trained from, and its tokenizer, which is trained on the recipe's pairs."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from codequarry.common.errors import UserError
from codequarry.recipes.schema import Recipe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TEXTS = 120_000  # that the tokenizer is trained on, evenly over the data: half a minute of one core
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
    size = recipe.matryoshka_dims[0]
    tokenizer = train_static_tokenizer(_some(list(texts)), shape.vocabulary, family)
    rows = (
        _teachers_rows(tokenizer, shape.start, size, device)
        if shape.start
        else np.random.default_rng(recipe.seed).standard_normal((tokenizer.get_vocab_size(), size))
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


def _some(texts: list[str]) -> list[str]:
    return texts[:: -(-len(texts) // _TEXTS)] if texts else texts


def _teachers_rows(tokenizer: "Tokenizer", teacher: str, size: int, device: str) -> npt.NDArray[np.float32]:
    """What a teacher makes of each token alone, less the mean, along its `size` principal axes.

    So do model2vec's models begin, which are not trained after it. The axes come largest first, as truncated
    rows need them. A part of a letter, and what the teacher reads no token in, gets a row of zeros.
    """
    from codequarry.modules.backbone import resolve_backbone
    from codequarry.modules.embedder import CodeEmbedder
    from codequarry.modules.text_checks import empty_texts

    tokens = [tokenizer.decode([number]) for number in range(tokenizer.get_vocab_size())]
    model = CodeEmbedder(str(resolve_backbone(teacher)), device=device)
    silent = {place for place, token in enumerate(tokens) if "\ufffd" in token} | {
        *empty_texts(model, tokens)
    }
    heard = [place for place in range(len(tokens)) if place not in silent]
    vectors = model.encode(
        [tokens[place] for place in heard], prompt="", batch_size=256, show_progress_bar=False
    )
    if vectors.shape[1] < size:
        raise UserError(
            f"{teacher} gives vectors of {vectors.shape[1]} numbers, and the static model is to have {size}: "
            "name another start, or begin matryoshka_dims with a smaller size."
        )
    vectors = vectors - vectors.mean(axis=0)
    axes = np.linalg.svd(vectors, full_matrices=False)[2]
    rows = np.zeros((len(tokens), size), dtype=np.float32)
    rows[heard] = vectors @ axes[:size].T
    return rows
