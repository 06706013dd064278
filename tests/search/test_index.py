from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codequarry.inference.encoder import Encoder
from codequarry.inference.open import open_static
from codequarry.search.database import database_path, open_database
from codequarry.search.index import add_features, read_features
from codequarry.search.refresh import read_changes
from codequarry.search.rerank import GROUP, embed_everything
from codequarry.search.vector_store import open_store


def test_what_another_process_has_embedded_meanwhile_is_not_embedded_again(
    tmp_path: Path, cache: Path, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "many"
    root.mkdir()
    (root / "a.py").write_text("\n\n".join(f"def f{n}():\n    return {n}\n" for n in range(3 * GROUP)))
    space = Encoder(encoder).space("nl2code")
    with open_database(database_path(root, cache), root) as connection, open_store(cache, space) as store:
        read_changes(connection, root, progress=False)
        encode = Encoder.encode_documents

        def encode_and_be_overtaken(self: Encoder, texts: Any, space: Any) -> Any:
            if len(encoder.embedded) == 0:  # meanwhile another process makes all the rest
                rows = dict(connection.execute("SELECT sha256, text FROM chunks"))
                rest = {sha256: text for sha256, text in rows.items() if text not in texts}
                made = encode(self, list(rest.values()), space)
                with open_store(cache, space) as other:
                    other.add(dict(zip(rest, made, strict=True)))
                encoder.embedded.clear()
            return encode(self, texts, space)

        monkeypatch.setattr(Encoder, "encode_documents", encode_and_be_overtaken)
        assert embed_everything(connection, store, "code", encoder, "nl2code", progress=False) == GROUP
        assert len(encoder.embedded) == GROUP
        hashes = {row[0] for row in connection.execute("SELECT sha256 FROM chunks WHERE kind = 'code'")}
        assert store.hashes(hashes) == hashes


def test_the_features_of_a_text_are_its_vector_and_its_tokens(checkout: Path, cache: Path) -> None:
    pico = open_static()
    assert pico is not None
    with open_database(database_path(checkout, cache), checkout) as connection:
        read_changes(connection, checkout, progress=False)
        assert add_features(connection, "code", pico, "nl2code", progress=False) > 0
        assert add_features(connection, "code", pico, "nl2code", progress=False) == 0
        found = read_features(connection, "code", pico.space("nl2code"))
        texts = [
            connection.execute("SELECT text FROM chunks WHERE rowid = ?", (row,)).fetchone()[0]
            for row in found.ids
        ]
    np.testing.assert_allclose(found.vectors, pico.encode(texts, "nl2code", "document"), atol=1e-6)
    for text, bag in zip(texts, found.bags, strict=True):
        tokens, counts = np.frombuffer(bag, "<u4").reshape(2, -1)
        assert sorted(np.repeat(tokens, counts)) == sorted(pico.token_ids([text])[0])
