from codequarry.data.sources.train_readers.markdown_sections import Section, page_title, plain, sections


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
