from codequarry.data.catalog.datasets.documentation import (
    Section,
    page_title,
    plain,
    question_sections,
    read_docs_qa,
    read_documentation,
    read_errors,
    restructured,
    sections,
)

LONG = "This sentence says something about the matter at hand. " * 5


def read(path, page):
    return [(pair.query, pair.source) for pair in read_documentation("docs", [(path, page.encode())])]


def test_a_heading_asks_with_its_page_unless_it_says_it_already():
    page = f"---\ntitle: State\n---\n# State\n{LONG}\n## Reset it now\n{LONG}\n## Reset the State\n{LONG}\n"
    assert read("reactjs/react.dev/src/content/x.md", page) == [
        ("Reset it now (State)", "docs"),
        ("Reset the State", "docs"),
    ]


def test_short_texts_deep_headings_and_bare_words_are_left_out():
    page = f"# T\n## Remarks\n{LONG}\n## Long enough heading\ntoo short\n##### Too deep a heading\n{LONG}\n"
    assert read("MicrosoftDocs/cpp-docs/docs/x.md", page) == []


def test_a_heading_that_every_page_has_is_left_out():
    files = [
        (
            f"dotnet/EntityFramework.Docs/{n}.md",
            f"# Page {n}\n## Next steps\n{LONG}\n## Own step {n}\n{LONG}".encode(),
        )
        for n in range(21)
    ]
    found = list(read_documentation("docs", files))
    assert len(found) == 21
    assert all(pair.query.startswith("Own step") for pair in found)


def test_introductions_count_where_the_manual_says_so():
    page = f"# Using sessions\n{LONG}\n"
    assert read("MicrosoftDocs/PowerShell-Docs/x.md", page) == [("Using sessions", "docs")]
    assert read("MicrosoftDocs/cpp-docs/x.md", page) == []


def test_restructured_text_is_read_too():
    page = f"Yaml\n====\n\nReading Contents\n----------------\n\n{LONG}\n"
    assert read("symfony/symfony-docs/yaml.rst", page) == [("Reading Contents (Yaml)", "docs")]


def test_a_hash_in_a_fence_is_no_heading():
    page = "# Title\nintro\n```bash\n# a comment\n```\n## Next {/*next*/}\nmore"
    assert list(sections(page)) == [
        Section(0, "", ""),
        Section(1, "Title", "intro\n```bash\n# a comment\n```"),
        Section(2, "Next", "more"),
    ]


def test_a_title_is_taken_from_the_front_matter_first():
    assert page_title('---\ntitle: "In front"\n---\n# Below') == "In front"
    assert page_title("text\n# Below\n") == "Below"
    assert page_title("nothing") == ""


def test_page_markup_goes_and_code_stays():
    text = (
        "See [the docs](../a_(b).md) and [those][1].<br>\n<!-- hidden\nlines -->\n> [!NOTE]\n> Careful.\n"
        '![picture](x.png)\n[!INCLUDE [x](y.md)]\n:::image type="content" source="z":::\n\n\n\n'
        "```html\n<a href='x'>[kept](as it is)</a>\n```\n[1]: https://example.org"
    )
    assert plain(text) == (
        "See the docs and those.\n\n> Careful.\n\n```html\n<a href='x'>[kept](as it is)</a>\n```"
    )


def test_generics_are_no_markup():
    assert (
        plain("Use `List<string>` and <xref:System.Int32>.") == "Use `List<string>` and <xref:System.Int32>."
    )


PAGE = """.. index:: single: Yaml

The Yaml Component
==================

Loads files, see :doc:`the guide </guide>` and `Twig <https://twig.example>`_.

Reading Contents
----------------

Call :method:`Yaml::parse`::

    $value = Yaml::parse('a');
"""


def test_underlines_make_sections_and_roles_become_text():
    _, top, below = restructured(PAGE)
    assert (top.level, top.heading) == (1, "The Yaml Component")
    assert top.text == "Loads files, see `the guide` and Twig."
    assert (below.level, below.heading) == (2, "Reading Contents")
    assert below.text == "Call `Yaml::parse`::\n\n    $value = Yaml::parse('a');"


SECTION = "Sections of fewer than two hundred characters say too little to be an answer. " * 3


def _asked(page: str) -> list[str]:
    return [question for question, _ in question_sections(page)]


def test_a_heading_is_asked_with_the_title_unless_it_asks_or_says_it_itself() -> None:
    page = (
        f"# Vue Router {{#top}}\n{SECTION}\n## Named Views {{#named}}\n{SECTION}\n## What is it?\n{SECTION}\n"
    )
    assert _asked(page) == ["Vue Router", "Named Views (Vue Router)", "What is it?"]


def test_the_title_of_the_front_matter_comes_before_that_of_the_page() -> None:
    page = f"---\ntitle: 'Disk space'\n---\n# How to manage it all\n{SECTION}\n"
    assert _asked(page) == ["How to manage it all (Disk space)"]


def test_headings_that_say_nothing_and_short_or_endless_sections_are_left_out() -> None:
    page = f"## Overview\n{SECTION}\n## See also\n{SECTION}\n## Short one\nno\n## Endless one\n{'x' * 7001}\n"
    assert _asked(page) == []
    assert _asked(f"##### Too deep a heading\n{SECTION}\n") == []


def test_a_comment_of_the_shell_is_no_heading() -> None:
    page = f"## First section\n{SECTION}\n```sh\n# not a heading\n```\n## Second section\n{SECTION}"
    assert _asked(page) == ["First section", "Second section"]
    assert "# not a heading" in next(iter(question_sections(page)))[1]


def test_a_section_loses_markup_that_readers_never_see() -> None:
    page = (
        f"## `v-html` [directive](/api#v-html)\n<!-- hidden -->{SECTION}\n::: tip\n"
        "See [the guide](/x) &amp; "
        'take <span class="x">care</span> of `Vec<T>`.\n:::\n\n\n\n![picture](x.png)\n> [!NOTE]\n> last'
    )
    [(question, section)] = question_sections(page)
    assert question == "v-html directive"
    assert section == f"{SECTION}\n\nSee the guide & take care of `Vec<T>`.\n\n> \n> last"


def test_a_long_section_is_cut() -> None:
    [(_, section)] = question_sections(f"## First section\n{'word ' * 1000}\n")
    assert section == "word " * 500


def test_sections_of_all_files_make_the_set() -> None:
    found = read_docs_qa([("vuejs/docs/a.md", f"# First page\r\n{SECTION}\r\n".encode())])
    assert found.queries == {"q0": "First page"}
    assert found.documents == {"d0": SECTION.strip()}


ERROR = b"""---
title: "Compiler Error C2504"
---
# Compiler Error C2504

> '*class*' : base class undefined

## Remarks

The base class is declared but never defined. Possible causes:

1. External base class not declared with [extern](../../cpp/extern-cpp.md).
"""
ERRORS = (
    b"# Compiler errors C2500 through C2599\n\nThe articles here explain errors.\n\n## See also\n\nMore.\n"
)


def test_a_message_asks_as_the_compiler_prints_it():
    (pair,) = read_errors([("c2504.md", ERROR)])
    assert pair.query == "Error C2504: 'class' : base class undefined"
    assert pair.document == (
        "## Remarks\n\nThe base class is declared but never defined. Possible causes:\n\n"
        "1. External base class not declared with extern."
    )


def test_a_page_that_only_lists_others_gives_nothing():
    assert list(read_errors([("index.md", ERRORS), ("empty.md", b"")])) == []
