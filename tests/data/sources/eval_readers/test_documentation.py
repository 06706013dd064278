from codequarry.data.sources.eval_readers.documentation import read_docs_qa, sections

LONG = "Sections of fewer than two hundred characters say too little to be an answer. " * 3


def _asked(page: str) -> list[str]:
    return [question for question, _ in sections(page)]


def test_a_heading_is_asked_with_the_title_unless_it_asks_or_says_it_itself() -> None:
    page = f"# Vue Router {{#top}}\n{LONG}\n## Named Views {{#named}}\n{LONG}\n## What is it?\n{LONG}\n"
    assert _asked(page) == ["Vue Router", "Named Views (Vue Router)", "What is it?"]


def test_the_title_of_the_front_matter_comes_before_that_of_the_page() -> None:
    page = f"---\ntitle: 'Disk space'\n---\n# How to manage it all\n{LONG}\n"
    assert _asked(page) == ["How to manage it all (Disk space)"]


def test_headings_that_say_nothing_and_short_or_endless_sections_are_left_out() -> None:
    page = f"## Overview\n{LONG}\n## See also\n{LONG}\n## Short one\nno\n## Endless one\n{'x' * 7001}\n"
    assert _asked(page) == []
    assert _asked(f"##### Too deep a heading\n{LONG}\n") == []


def test_a_comment_of_the_shell_is_no_heading() -> None:
    page = f"## First section\n{LONG}\n```sh\n# not a heading\n```\n## Second section\n{LONG}"
    assert _asked(page) == ["First section", "Second section"]
    assert "# not a heading" in next(iter(sections(page)))[1]


def test_a_section_loses_markup_that_readers_never_see() -> None:
    page = (
        f"## `v-html` [directive](/api#v-html)\n<!-- hidden -->{LONG}\n::: tip\nSee [the guide](/x) &amp; "
        'take <span class="x">care</span> of `Vec<T>`.\n:::\n\n\n\n![picture](x.png)\n> [!NOTE]\n> last'
    )
    [(question, section)] = sections(page)
    assert question == "v-html directive"
    assert section == f"{LONG}\n\nSee the guide & take care of `Vec<T>`.\n\n> \n> last"


def test_a_long_section_is_cut() -> None:
    [(_, section)] = sections(f"## First section\n{'word ' * 1000}\n")
    assert section == "word " * 500


def test_sections_of_all_files_make_the_set() -> None:
    found = read_docs_qa([("vuejs/docs/a.md", f"# First page\r\n{LONG}\r\n".encode())])
    assert found.queries == {"q0": "First page"}
    assert found.documents == {"d0": LONG.strip()}
