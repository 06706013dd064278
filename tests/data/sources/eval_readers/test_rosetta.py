from codequarry.data.sources.eval_readers.rosetta import is_held_out_task, read_rosetta_py_cpp

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
