import pytest

from codequarry.data.parsing.parse import SourceFile
from codequarry.search.chunk import Chunk
from codequarry.search.prose_chunks import LONGEST, prose_chunks


def chunks_of(text: str, language: str = "markdown") -> list[Chunk]:
    return prose_chunks(SourceFile("README.md", language, text, ()))


def places(chunks: list[Chunk]) -> list[tuple[int, int, str]]:
    return [(chunk.start_line, chunk.end_line, chunk.title) for chunk in chunks]


def test_markdown_is_cut_at_headings_and_titled_by_their_path() -> None:
    chunks = chunks_of("Hello.\n\n# Shapes\n\nRound.\n\n## Install\nRun pip.\n\n# Other\nText.\n")
    assert places(chunks) == [(1, 1, ""), (3, 5, "Shapes"), (7, 8, "Shapes > Install"), (10, 11, "Other")]
    assert chunks[2].text == "## Install\nRun pip."


@pytest.mark.parametrize("language", ["markdown", "rst", "text"])
def test_prose_without_a_heading_is_one_section(language: str) -> None:
    assert places(chunks_of("Hello.\n\nMore.\n", language)) == [(1, 3, "")]
    assert chunks_of("", language) == []


def test_a_heading_with_no_text_opens_the_section_below_it() -> None:
    chunks = chunks_of("# Guide\n\n## Install\n\nRun pip.\n")
    assert places(chunks) == [(1, 5, "Guide > Install")]


def test_a_comment_in_a_code_fence_is_no_heading() -> None:
    chunks = chunks_of("# Use\n\n```sh\n# build\nmake\n```\n\n~~~~\n```\n# still code\n~~~~\n\n# Next\nE.\n")
    assert [chunk.title for chunk in chunks] == ["Use", "Next"]


def test_a_span_of_three_backticks_opens_no_fence() -> None:
    assert [chunk.title for chunk in chunks_of("# A\n```x```\n# B\ntext\n")] == ["A", "B"]


def test_restructured_text_is_cut_at_underlined_titles_ranked_by_appearance() -> None:
    text = "=====\nGuide\n=====\n\nHello.\n\nInstall\n-------\n\nRun.\n\nFrom source\n~~~~~~~~~~~\nClone.\n"
    assert places(chunks_of(text, "rst")) == [
        (1, 5, "Guide"),
        (7, 10, "Guide > Install"),
        (12, 14, "Guide > Install > From source"),
    ]


def test_a_long_section_is_cut_at_paragraphs_that_share_its_unit() -> None:
    paragraphs = [f"Paragraph {n} " + "word " * 60 for n in range(20)]
    chunks = chunks_of("# Long\n\n" + "\n\n".join(paragraphs) + "\n")
    assert len(chunks) > 3
    assert {chunk.unit_line for chunk in chunks} == {1}
    assert max(len(chunk.text) for chunk in chunks) <= LONGEST
    assert [chunk.text.startswith("Paragraph") for chunk in chunks[1:]] == [True] * (len(chunks) - 1)


def test_a_list_without_blank_lines_is_cut_too() -> None:
    chunks = chunks_of("# Changes\n" + "\n".join(f"- change {n} " + "x" * 80 for n in range(100)))
    assert max(len(chunk.text) for chunk in chunks) <= LONGEST
    covered = {line for chunk in chunks for line in range(chunk.start_line, chunk.end_line + 1)}
    assert covered == set(range(1, 102))


def test_a_code_block_is_not_cut_at_its_blank_lines() -> None:
    code = "```python\n" + "\n\n".join(f"step_{n}()" for n in range(20)) + "\n```"
    chunks = chunks_of(f"# Use\n\n{'word ' * 280}\n\n{code}\n")
    assert any(chunk.text == code for chunk in chunks)


def test_plain_text_is_cut_at_paragraphs_only() -> None:
    chunks = chunks_of("# not a heading\n\n" + "\n\n".join("word " * 100 for _ in range(6)), "text")
    assert {chunk.title for chunk in chunks} == {""}
    assert len(chunks) == 3


def test_every_filled_line_with_a_word_is_in_a_chunk() -> None:
    text = "# A\n\none\n\n## B\n\n---\n\n```\ncode\n```\n\n## C\n\ntwo\n"
    covered = {line for chunk in chunks_of(text) for line in range(chunk.start_line, chunk.end_line + 1)}
    assert covered >= {1, 3, 5, 9, 10, 11, 13, 15}


@pytest.mark.parametrize("language", ["markdown", "rst", "text"])
def test_a_text_of_one_long_line_is_cut_at_spaces_and_nothing_of_it_is_lost(language: str) -> None:
    words = [f"word{number}" for number in range(5_000)]
    chunks = chunks_of(" ".join(words), language)
    assert " ".join(chunk.text for chunk in chunks).split() == words
    assert {(chunk.start_line, chunk.end_line) for chunk in chunks} == {(1, 1)}
    assert all(LONGEST // 2 < len(chunk.text) <= LONGEST for chunk in chunks[:-1])


def test_a_line_without_a_space_is_cut_all_the_same() -> None:
    chunks = chunks_of("x" * 10_000, "text")
    assert "".join(chunk.text for chunk in chunks) == "x" * 10_000
    assert max(len(chunk.text) for chunk in chunks) == LONGEST


def test_a_heading_of_endless_spaces_or_words_is_cut() -> None:
    for heading in ("# " + " " * 100_000 + "x", "# " + "# " * 50_000 + "x", "# " + "word " * 20_000):
        chunks = chunks_of(f"{heading}\n\nText.\n", "markdown")
        assert chunks
        assert max(len(chunk.title) for chunk in chunks) <= 200
