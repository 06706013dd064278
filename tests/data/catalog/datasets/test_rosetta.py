from codequarry.data.catalog.datasets.rosetta import (
    LANGUAGES,
    is_held_out_task,
    read_descriptions,
    read_explanations,
    read_rosetta_py_cpp,
    read_translations,
)

FREE = [f"Task-{n}" for n in range(99) if not is_held_out_task(f"Task-{n}")]

HELD = [f"Task-{n}" for n in range(99) if is_held_out_task(f"Task-{n}")]

PROGRAM = "print('a program of more than fifty-five characters, of {} number {}')"

MARKUP = b"""{{task}}
'''Constrained genericity''' means that a type (see [[parametric polymorphism|it]]) is&nbsp; bound.

Write a <tt>FoodBox</tt>, see [http://x.example the page]. [[File:a.png|200px]]
"""


def task(name, *languages, programs=1):
    files = [(f"bgloyer/RosettaCodeData/Task/{name}/00DESCRIPTION", MARKUP)]
    for language in languages:
        for n in range(1, programs + 1):
            path = f"bgloyer/RosettaCodeData/Task/{name}/{language}/x-{n}.x"
            files.append((path, PROGRAM.format(language, n).encode()))
    return files


def test_a_description_is_plain_and_asks_for_the_first_program():
    pairs = list(read_descriptions(task(FREE[0], "Python", "C++", "Brainf---", programs=11)))
    assert [pair.language for pair in pairs] == ["cpp", "python"]
    assert pairs[0].document == PROGRAM.format("C++", 1)
    assert pairs[0].query == (
        f"{FREE[0].replace('-', ' ')}. Constrained genericity means that a type (see it) is bound.\n"
        "Write a FoodBox, see the page."
    )


def test_translations_go_both_ways_and_to_a_second_program():
    pairs = {pair.language: pair for pair in read_translations(task(FREE[0], "Python", "Ruby", programs=2))}
    assert set(pairs) == {"python-ruby", "ruby-python", "python-python", "ruby-ruby"}
    assert pairs["ruby-ruby"].query == PROGRAM.format("Ruby", 1)
    assert pairs["ruby-ruby"].document == PROGRAM.format("Ruby", 2)


def test_many_languages_are_drawn_from_by_lot():
    files = task(FREE[0], *LANGUAGES)
    assert len(list(read_descriptions(files))) == 30
    assert len(list(read_translations(files))) == 42
    assert len(list(read_explanations(files))) == 3
    assert list(read_translations(files)) == list(read_translations(reversed(files)))


def test_what_is_evaluated_on_is_left_out():
    files = [*task(HELD[0], "Python", "C++"), *task(HELD[1], "Python", "C++")]
    for read in (read_descriptions, read_translations, read_explanations):
        assert list(read(files)) == []


CPP = "#include <iostream>\nint main()\n{\n   int a, b;\n   std::cin >> a >> b;\n   std::cout << a + b;\n}\n "

PYTHON = "\ntry: raw_input\nexcept: raw_input = input\n\nprint(sum(map(int, raw_input().split())))\n"


def _files(**texts: str) -> list[tuple[str, bytes]]:
    return [(f"bgloyer/RosettaCodeData/Task/{path}", text.encode()) for path, text in texts.items()]


def test_a_held_out_task_is_asked_in_python_and_answered_in_cpp() -> None:
    assert is_held_out_task("A+B")
    assert not is_held_out_task("100-doors")
    found = read_rosetta_py_cpp(
        _files(
            **{
                "100-doors/C++/100-doors.cpp": CPP.replace("a + b", "100"),
                "100-doors/Python/100-doors.py": PYTHON,
                "A+B/C++/a+b-1.cpp": CPP,
                "A+B/Python/a+b-1.py": PYTHON,
            }
        )
    )
    assert found.queries == {"q0": PYTHON.strip()}
    assert found.documents == {"d0": CPP.replace("a + b", "100").strip(), "d1": CPP.strip()}
    assert found.relevant == {"q0": {"d1": 1}}


def test_a_solution_of_unusual_length_makes_room_for_the_next() -> None:
    found = read_rosetta_py_cpp(
        _files(
            **{
                "A+B/C++/a+b-1.cpp": "int main(){}",
                "A+B/C++/a+b-2.cpp": "x" * 3501,
                "A+B/C++/a+b-3.cpp": CPP,
                "A+B/Python/a+b-1.py": PYTHON,
            }
        )
    )
    assert list(found.documents.values()) == [CPP.strip()]
