"""One source file in, everything in it that can be an answer out."""

from codequarry.data.syntax import SourceFile
from codequarry.search.code_chunks import code_chunks
from codequarry.search.kinds import Chunk, Kind
from codequarry.search.prose_chunks import PROSE_LANGUAGES, prose_chunks

_COMMENT_KINDS: tuple[Kind, ...] = ("comment", "prose")


def chunk_file(source: SourceFile) -> list[Chunk]:
    """The chunks of one file, of all kinds.

    A file in a programming language gives its code, and each docstring or comment above a definition twice:
    as a comment (what code2nl searches) and as prose (what qa searches; the prefix differs, so the vector
    does too). Documentation gives prose only.
    """
    if source.language in PROSE_LANGUAGES:
        return prose_chunks(source)
    return code_chunks(source) + [
        Chunk(
            kind,
            source.path,
            definition.comment_start_line,
            definition.comment_end_line,
            definition.comment_start_line,
            definition.name,
            definition.comment.strip(),
        )
        for definition in source.definitions
        if any(map(str.isalnum, definition.comment))
        for kind in _COMMENT_KINDS
    ]
