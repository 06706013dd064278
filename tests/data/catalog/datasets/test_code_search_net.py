import json

from codequarry.data.catalog.datasets.code_search_net import read_codesearchnet_real

# A record of the source as it is; Go's line ends are tokens.
GO = {
    "idx": "maxmin-8",
    "nl_tokens": ["CanPageDown", "returns", "whether", "a", "list", "can", "still", "PageDown", "()", "."],
    "pl_tokens": "func ( l * List ) CanPageDown ( ) bool { <mask> := len ( l . scope ) | return l . start"
    " + l . size < max | }".replace("|", "\n").split(" "),
}


def _file(language: str, *comments: str) -> tuple[str, bytes]:
    rows = [
        {"idx": "maxmin-1", "nl_tokens": comment.split(), "pl_tokens": ["<mask>", "(", str(number), ")"]}
        for number, comment in enumerate(comments)
    ]
    return f"microsoft/CodeXGLUE/data/{language}/clozeTest.json", json.dumps(rows).encode()


def test_tokens_are_joined_by_a_space_and_lines_by_their_end() -> None:
    found = read_codesearchnet_real([("x/go/clozeTest.json", json.dumps([GO]).encode())])
    assert found.queries == {"q0": "CanPageDown returns whether a list can still PageDown () ."}
    assert found.documents == {
        "d0": "func ( l * List ) CanPageDown ( ) bool { max := len ( l . scope )\n"
        "return l . start + l . size < max\n}"
    }
    assert found.languages == {"q0": "go"}


def test_the_mask_is_min_only_where_the_comment_speaks_of_min_and_not_of_max() -> None:
    found = read_codesearchnet_real([_file("python", "the minimum", "the maximum", "Min and Max", "else")])
    assert list(found.documents.values()) == ["min ( 0 )", "max ( 1 )", "max ( 2 )", "max ( 3 )"]


def test_python_comes_first_whatever_the_order_of_the_files() -> None:
    found = read_codesearchnet_real([_file("go", "of go"), _file("python", "of python")])
    assert found.languages == {"q0": "python", "q1": "go"}
