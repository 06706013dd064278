from pathlib import Path
from typing import Any

from codequarry.inference.encoder import Encoder
from codequarry.search.database import database_path, open_database, writing
from codequarry.search.index import GROUP, embed_missing, space_number
from codequarry.search.refresh import read_changes


def test_what_another_process_has_embedded_meanwhile_is_not_embedded_again(
    tmp_path: Path, cache: Path, encoder: Any
) -> None:
    root = tmp_path / "many"
    root.mkdir()
    (root / "a.py").write_text("\n\n".join(f"def f{n}():\n    return {n}\n" for n in range(3 * GROUP)))
    space = Encoder(encoder).space("nl2code")
    with open_database(database_path(root, cache), root) as connection:
        read_changes(connection, root, progress=False)
        number = space_number(connection, space)
        mine: list[str] = []

        def embed(texts: list[str]) -> Any:
            if not mine:  # while the first group is made here, another process makes all the rest
                rows = connection.execute("SELECT sha256, text FROM chunks").fetchall()
                rest = [row for row in rows if row[1] not in texts]
                vectors = Encoder(encoder).encode_documents([text for _, text in rest], space)
                with writing(connection):
                    connection.executemany(
                        "INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)",
                        [(number, row[0], v.tobytes()) for row, v in zip(rest, vectors, strict=True)],
                    )
            mine.extend(texts)
            return Encoder(encoder).encode_documents(texts, space)

        assert embed_missing(connection, "code", number, embed, progress=False) == GROUP
        assert len(mine) == GROUP
        assert connection.execute("SELECT COUNT(*) FROM vectors").fetchone() == (3 * GROUP,)
