import asyncio

import numpy as np
import pytest

from codequarry.inference.encoder import Encoder, served, truncate, unit_vectors
from codequarry.integrations.serve.batching import Batcher
from codequarry.integrations.serve.requests import Limits
from codequarry.modules.tasks import CODE, SIDES, TASKS, prompt_name

TEXTS = (
    "parse a date",
    "def f(x):\r\n\treturn x  # größe\n",
    "x = 1\n" * 300,
    "<|endoftext|> [SEP]",
    "  a  ",
)


def embed_together(model, texts, batch_texts):
    """Each text is a request of its own, and all of them wait at the same time."""

    async def whole():
        encoder = Encoder(model, batch_size=batch_texts)
        batcher = Batcher(encoder, Limits(batch_texts=batch_texts), model.max_seq_length)
        worker = asyncio.create_task(batcher.run())
        answers = await asyncio.gather(*(batcher.embed([("", text)]) for text in texts))
        worker.cancel()
        batcher.close()
        return [answer[0] for answer in answers]

    return asyncio.run(whole())


@pytest.mark.parametrize("batch_texts", [1, 16])
def test_vectors_equal_the_models_own_in_any_company(mini, batch_texts):
    sides = [(task, side) for task in TASKS for side in SIDES]
    asked = [(*one, text) for number, one in enumerate(sides) for text in (TEXTS[0], TEXTS[number % 4 + 1])]
    together = embed_together(
        mini, [CODE.prompts()[prompt_name(task, side)] + text for task, side, text in asked], batch_texts
    )
    for (task, side, text), one in zip(asked, together, strict=True):
        encode = mini.encode_query if side == "query" else mini.encode_document
        own = encode([text], task=task)[0]
        assert np.abs(one.vector - own).max() < 1e-6


def test_a_cut_vector_equals_the_models_own_at_that_dimension(mini):
    full = mini.encode_query(list(TEXTS), task="qa")
    for dims in mini.matryoshka_dims:
        own = mini.encode_query(list(TEXTS), task="qa", truncate_dim=dims)
        assert np.abs(truncate(full, dims) - own).max() < 1e-6


def test_tokens_are_those_the_model_reads(mini):
    texts = [CODE.prompts()["code2nl_document"] + text for text in TEXTS]
    read = mini.preprocess(texts)["attention_mask"].sum(dim=1).tolist()
    assert [one.tokens for one in embed_together(mini, texts, 4)] == read
    assert max(read) == mini.max_seq_length
    assert Encoder(mini).count_tokens(texts)[2] > mini.max_seq_length


def test_what_is_served_is_what_the_model_says_of_itself(mini):
    row = served(mini, "m")
    assert (row.name, row.dims, row.max_tokens) == ("m", mini.matryoshka_dims, mini.max_seq_length)
    assert row.dtype == "float32"
    assert dict(row.prompts) == CODE.prompts()


def test_rows_become_unit_vectors_zero_stays_zero_and_nan_stays_nan():
    rows = np.array([[3, 4], [0, 0], [np.nan, 1]], dtype=np.float32)
    unit = unit_vectors(rows)
    np.testing.assert_allclose(unit[:2], [[0.6, 0.8], [0, 0]], atol=1e-7)
    assert np.isnan(unit[2]).all()
