from codequarry.data.sources.train_readers.documentation import read_documentation

LONG = "This sentence says something about the matter at hand. " * 5


def read(path, page):
    return [(pair.query, pair.source) for pair in read_documentation("docs")([(path, page.encode())])]


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
    found = list(read_documentation("docs")(files))
    assert len(found) == 21
    assert all(pair.query.startswith("Own step") for pair in found)


def test_introductions_count_where_the_manual_says_so():
    page = f"# Using sessions\n{LONG}\n"
    assert read("MicrosoftDocs/PowerShell-Docs/x.md", page) == [("Using sessions", "docs")]
    assert read("MicrosoftDocs/cpp-docs/x.md", page) == []


def test_restructured_text_is_read_too():
    page = f"Yaml\n====\n\nReading Contents\n----------------\n\n{LONG}\n"
    assert read("symfony/symfony-docs/yaml.rst", page) == [("Reading Contents (Yaml)", "docs")]
