from codequarry.data.sources.train_readers.stack_overflow_documentation import read_code, read_text

CODE = """    DO amount TIMES.
        * do several times, and then some more of it
        * and yet more of it
    ENDDO.
"""


def page(*headings, title="Loops"):
    examples = "".join(
        f"\n## {heading}\nWith a [link](http://x.example) and words that explain it.\n\n{CODE}\n\n  [1]: http://y\n"
        for heading in headings
    )
    return f'---\ntitle: "{title}"\n---\n{examples}'.encode()


def read(reader, *headings, title="Loops"):
    return list(reader([("wikiod-com/wikiod/en/docs/abap/loops.md", page(*headings, title=title))]))


def test_every_example_is_in_exactly_one_of_the_two_sets():
    headings = [f"Example number {n}" for n in range(60)]
    code = {pair.query for pair in read(read_code, *headings)}
    text = {pair.query for pair in read(read_text, *headings)}
    assert not code & text
    assert code | text == {f"abap: Loops - {heading}" for heading in headings}
    assert 15 < len(code) < 45


def test_code_is_dedented_and_text_is_cleaned():
    headings = [f"Example number {n}" for n in range(60)]
    code, text = read(read_code, *headings)[0], read(read_text, *headings)[0]
    assert code.document == (
        "DO amount TIMES.\n    * do several times, and then some more of it\n    * and yet more of it\nENDDO."
    )
    assert text.document == f"With a link and words that explain it.\n\n{CODE.rstrip()}"
    assert (code.language, text.task) == ("abap", "qa")


def test_a_topic_that_the_title_names_comes_behind():
    pairs = read(read_text, *[f"Example {n}" for n in range(9)], title="ABAP Objects")
    assert pairs[0].query.endswith(" (abap)")


def test_parameter_tables_are_no_examples():
    assert read(read_code, "Parameters", "Remarks") == read(read_text, "Parameters", "Remarks") == []
