import json

from codequarry.data.sources.eval_readers.mbxp import read_mbxp_code2nl

# Records of the source as they are, without the fields that nothing reads.
RUBY = {
    "task_id": "MBRBP/502",
    "language": "ruby",
    "prompt": "\n##\n# You are an expert Ruby programmer, and here is your task.\n# # Write a "
    "Ruby function to find remainder of two numbers.\n#\n# irb> find(3, 3)\n# => 0\ndef find(n, m)",
    "description": "Write a Ruby function to find remainder of two numbers.",
    "canonical_solution": "  return n % m\n\nend\n",
}
PYTHON = {
    "task_id": "MBPP/135",
    "language": "python",
    "prompt": '\n\ndef hexagonal_num(n):\n\t"""\n\tWrite a function to find the nth hexagonal number.\n\t>>> '
    'hexagonal_num(10)\n\t190\n\t"""\n',
    "description": "Write a function to find the nth hexagonal number.",
    "canonical_solution": "\t \n\treturn n*(2*n - 1) ",
}
CPP = {
    "task_id": "MBCPP/234",
    "language": "cpp",
    "prompt": "#include <bits/stdc++.h>\nusing namespace std;\n\n\n/**\n * Write a function to find the "
    "volume of a cube.\n */\nint volumeCube(int l) {\n",
    "description": "Write a function to find the volume of a cube.",
    "canonical_solution": "  return l * l * l; /* cubed */\n}",
}
UNSOLVED = {**CPP, "language": "go", "canonical_solution": None}


def _files(*records: dict[str, str | None]) -> list[tuple[str, bytes]]:
    return [("amazon-science/mxeval/a.jsonl", "\n".join(map(json.dumps, records)).encode())]


def test_the_prompt_loses_its_comment_and_the_solution_keeps_its_own() -> None:
    found = read_mbxp_code2nl(_files(RUBY, PYTHON, CPP, UNSOLVED))
    said = {
        found.languages[query]: (text, found.documents[next(iter(found.relevant[query]))])
        for query, text in found.queries.items()
    }
    assert said == {
        "ruby": ("def find(n, m)  return n % m\n\nend", RUBY["description"]),
        "python": ("def hexagonal_num(n):\n\t\t \n\treturn n*(2*n - 1)", PYTHON["description"]),
        "cpp": (
            "using namespace std;\n\n\n\nint volumeCube(int l) {  return l * l * l; /* cubed */\n}",
            CPP["description"],
        ),
    }


def test_the_same_two_thousand_are_drawn_every_time() -> None:
    many = [{**PYTHON, "canonical_solution": f"\treturn {number}"} for number in range(2100)]
    once, twice = read_mbxp_code2nl(_files(*many)), read_mbxp_code2nl(_files(*many))
    assert len(once.queries) == 2000
    assert list(once.queries.items()) == list(twice.queries.items())
