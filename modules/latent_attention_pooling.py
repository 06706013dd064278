"""Latent-attention pooling: tokens attend to a trained table of latents, and the results are averaged.

From NV-Embed (arXiv 2405.17428, section 3.1); the third pooling of the ablation in jina-code-embeddings
(arXiv 2508.21290, section 2), with last-token and mean.
"""

from typing import Any

import torch
from sentence_transformers.base.modules.module import Module
from torch import Tensor, nn
from torch.nn import functional

from codequarry.common.errors import UserError


class LatentAttentionPooling(Module):
    """Cross-attention from tokens to latents, a feed-forward block, then the mean over a text's tokens.

        a_t = h_t + Attention(query = LN(h_t), keys and values = latents)
        o_t = a_t + MLP(LN(a_t)),   MLP = Linear, GELU, Linear
        embedding_b = mean of o_t over the tokens t of text b

    Keys and values are the latents, never other tokens, so a token's result is the same in any batch, padded
    or packed, and padding is left out before anything is computed. Both branches end in weights that start
    at zero: an untrained pooling is mean pooling, which adds no noise to a pretrained backbone.

    No class of sentence-transformers computes this, so a saved folder names this class: `codequarry.load`
    reads it, stock sentence-transformers refuses it, and so does `codequarry release build`.

    Arguments:
        embedding_dimension: size of a hidden state, and of the embedding.
        latents: rows of the table; 512 in NV-Embed.
        heads: of the attention; they divide the size of a hidden state.
        latent_dim: size of a latent; None makes it a hidden state's.

    Shapes: `token_embeddings (batch, tokens, dim)` and `attention_mask (batch, tokens)`, or packed
    `(1, all tokens, dim)` and `cu_seq_lens_q (batch + 1,)`, to `sentence_embedding (batch, dim)`.

    Raises UserError when the heads do not divide the size of a hidden state.

    >>> model = build_model("Qwen/Qwen2.5-Coder-0.5B", pooling="latentattention")
    """

    config_keys = ["embedding_dimension", "latents", "heads", "latent_dim"]  # noqa: RUF012 (the parent's)

    def __init__(
        self, embedding_dimension: int, latents: int = 512, heads: int = 8, latent_dim: int | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if embedding_dimension % heads:
            raise UserError(
                f"{heads} heads do not divide a hidden state of {embedding_dimension} numbers: pass heads "
                "that do, such as 4."
            )
        self.embedding_dimension = embedding_dimension
        self.latents = latents
        self.heads = heads
        self.latent_dim = latent_dim or embedding_dimension
        self.table = nn.Parameter(torch.randn(latents, self.latent_dim) / self.latent_dim**0.5)
        self.attention_norm = nn.LayerNorm(embedding_dimension)
        self.query = nn.Linear(embedding_dimension, embedding_dimension, bias=False)
        self.key_and_value = nn.Linear(self.latent_dim, 2 * embedding_dimension, bias=False)
        self.answer = nn.Linear(embedding_dimension, embedding_dimension, bias=False)
        self.norm = nn.LayerNorm(embedding_dimension)
        self.widen = nn.Linear(embedding_dimension, 4 * embedding_dimension)
        self.narrow = nn.Linear(4 * embedding_dimension, embedding_dimension)
        for last in (self.answer, self.narrow):
            nn.init.zeros_(last.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Add `sentence_embedding (batch, dim)` to the features."""
        hidden: Tensor = features["token_embeddings"]
        if "cu_seq_lens_q" in features:
            tokens = hidden[0]  # (all tokens, dim)
            lengths = features["cu_seq_lens_q"].diff().long()  # (batch,)
        else:
            mask: Tensor = features["attention_mask"].bool().to(hidden.device)
            tokens, lengths = hidden[mask], mask.sum(dim=1)
        # A frozen backbone may be in bf16 while this is trained in float32.
        answers = self._answers(tokens.to(self.table.dtype))
        texts = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)
        summed = torch.promote_types(answers.dtype, torch.float32)  # sums of bf16 lose digits
        sums = torch.zeros(len(lengths), answers.size(1), dtype=summed, device=answers.device)
        sums = sums.index_add(0, texts.to(answers.device), answers.to(summed))
        means = sums / lengths.to(sums.device).clamp(min=1).unsqueeze(1)
        features["sentence_embedding"] = means.to(hidden.dtype)
        return features

    def _answers(self, tokens: Tensor) -> Tensor:
        """`a_t` and `o_t` of the class: `(tokens, dim)` to `(tokens, dim)`."""
        queries = self._by_head(self.query(self.attention_norm(tokens)))
        keys, values = self.key_and_value(self.table).chunk(2, dim=-1)
        read = functional.scaled_dot_product_attention(queries, self._by_head(keys), self._by_head(values))
        attended = tokens + self.answer(read[0].transpose(0, 1).flatten(1))
        wide = functional.gelu(self.widen(self.norm(attended)))
        answers: Tensor = attended + self.narrow(wide)
        return answers

    def _by_head(self, rows: Tensor) -> Tensor:
        """`(rows, dim)` to `(1, heads, rows, dim / heads)`."""
        return rows.view(len(rows), self.heads, -1).transpose(0, 1).unsqueeze(0)

    def get_embedding_dimension(self) -> int:
        """Dimensions of an embedding."""
        return self.embedding_dimension

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write configuration and weights to a folder."""
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)

    @classmethod
    def load(  # type: ignore[override]
        cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any
    ) -> "LatentAttentionPooling":
        """Read configuration and weights from a folder or the Hub, with sentence-transformers' arguments."""
        named = ("token", "cache_folder", "revision", "local_files_only")
        where = {name: kwargs[name] for name in named if name in kwargs}
        pooling = cls(**cls.load_config(model_name_or_path, subfolder=subfolder, **where))
        cls.load_torch_weights(model_name_or_path, subfolder=subfolder, model=pooling, **where)
        return pooling
