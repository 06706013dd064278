from functools import partial
from pathlib import Path

import codequarry
from codequarry.search.query import search as search_cascade

search = partial(search_cascade, exhaustive=True)


def test_mini_finds_code_by_its_meaning_and_embeds_it_once(checkout: Path, cache: Path) -> None:
    model = codequarry.load("mini")
    first = search("read an ISO date from a string", checkout, model, cache=cache, progress=False)
    assert first.hits[0].title == "parse_date"
    assert first.refresh.embedded == first.refresh.chunks
    again = search("space covered by a round shape", checkout, model, cache=cache, progress=False)
    assert again.hits[0].title.startswith("Circle")
    assert again.refresh.embedded == 0
    question = "Which command installs it, pip?"
    install = search(question, checkout, model, task="qa", cache=cache, progress=False)
    assert install.hits[0].title == "Shapes > Install"
