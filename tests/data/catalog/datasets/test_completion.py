from codequarry.data.catalog.datasets.completion import read_completion_py


def _function(name: str, body: str = "total += {line} * value") -> str:
    lines = [f"    {body.format(line=line)}" for line in range(1, 14)]
    return "\n".join([f"def {name}(value, total=0):", '    """Says what it does."""', *lines]) + "\n"


def _files(**texts: str) -> list[tuple[str, bytes]]:
    return [(path, text.encode()) for path, text in texts.items()]


def test_a_function_is_cut_between_two_statements_and_its_docstring_is_left_out() -> None:
    found = read_completion_py(_files(**{"small/a.py": _function("first")}))
    assert found.task == "code2completion"
    head, tail = found.queries["q0"], found.documents["d0"]
    assert f"{head}\n{tail}".split("\n") == [
        "def first(value, total=0):",
        *(f"    total += {line} * value" for line in range(1, 14)),
    ]
    assert len(head.split("\n")) == len(tail.split("\n")) == 7
    assert found.languages == {"q0": "python"}


def test_short_functions_tests_and_what_does_not_parse_are_left_out() -> None:
    found = read_completion_py(
        _files(
            **{
                "small/a.py": _function("first") + "\ndef short():\n    return 1\n",
                "small/tests/a.py": _function("second"),
                "small/c.py": "def broken(:\n",
                "small/d.txt": _function("third"),
            }
        )
    )
    assert len(found.queries) == len(found.documents) == 1


def test_functions_with_the_same_ending_share_one_document() -> None:
    files = {"small/a.py": _function("first") + "\n\n" + _function("second")}
    found = read_completion_py(_files(**files))
    assert found.relevant == {"q0": {"d0": 1}, "q1": {"d0": 1}}


def test_a_beginning_with_two_endings_has_two_right_answers() -> None:
    other = _function("first").replace("13 * value", "99 * value")
    found = read_completion_py(_files(**{"one/a.py": _function("first"), "two/b.py": other}))
    assert found.relevant == {"q0": {"d0": 1, "d1": 1}}


def test_a_small_package_gives_all_and_the_others_share_what_is_left() -> None:
    def package(name: str, count: int) -> tuple[str, bytes]:
        body = f"{name}_{{line}} = '{{line}}'"
        return f"{name}/a.py", "\n\n".join(_function(f"{name}_{n}", body) for n in range(count)).encode()

    found = read_completion_py([package("small", 100), package("large", 700), package("larger", 800)])
    drawn = [text.split("def ")[1].split("_")[0] for text in found.queries.values()]
    assert {name: drawn.count(name) for name in set(drawn)} == {"small": 100, "large": 450, "larger": 450}


def test_the_functions_beside_a_drawn_one_are_its_distractors_and_other_files_are_not() -> None:
    def numbered(name: str, count: int) -> str:
        return "\n\n".join(_function(f"{name}_{n}", f"{name}_{n}_{{line}} = 0") for n in range(count))

    files = [(f"package/{n}.py", numbered(f"f{n}", 300).encode()) for n in range(4)]
    found = read_completion_py(files)
    assert len(found.queries) == 1000
    assert len(found.documents) == 1200
    answers = [document for documents in found.relevant.values() for document in documents]
    assert len(set(answers)) == 1000
    assert found == read_completion_py(files)
