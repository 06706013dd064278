from codequarry.data.sources.eval_readers.leetcode import (
    is_held_out_problem,
    plain_statement,
    read_leetcode_p2s,
)

# In the form of the source, with words of our own: statements are not ours to publish.
README = """---
comments: true
---

# [7. Turn Around](https://example.org)

## Description

<!-- description:start -->

<p>Given <code>x</code><!-- note -->, turn <em>it</em> around. Assume <code>x &lt;= 10<sup>5</sup></code>.</p>

<p>&nbsp;</p>
<pre>
<strong>Input:</strong> x = 12
</pre>

<ul>
\t<li><code>0 &lt;= x</code></li>
</ul>

<!-- description:end -->

## Solutions
"""
SOLUTION = (
    "class Solution:\r\n"
    "    def turn(self, x: int) -> int:\r\n"
    "        return int(str(x)[::-1])  # reads the digits backwards\r\n"
)


def _files(number: int, solution: str = SOLUTION) -> list[tuple[str, bytes]]:
    folder = f"doocs/leetcode/solution/0000-0099/{number:04}.Turn Around"
    return [(f"{folder}/README_EN.md", README.encode()), (f"{folder}/Solution.py", solution.encode())]


def test_a_statement_becomes_plain_text() -> None:
    assert plain_statement(README) == (
        "Given x<!-- note -->, turn it around. Assume x <= 10^5.\nInput: x = 12\n 0 <= x"
    )
    assert plain_statement("# no markers") == ""


def test_only_held_out_problems_are_asked_and_every_solution_is_a_document() -> None:
    assert [number for number in (6, 7, 17, 3199, 3200) if is_held_out_problem(number)] == [7, 17, 3200]
    found = read_leetcode_p2s([*_files(7), *_files(6, SOLUTION.replace("turn", "rotate"))])
    assert found.queries == {"q0": plain_statement(README)}
    unix = SOLUTION.replace("\r\n", "\n").strip()
    assert found.documents == {"d0": unix.replace("turn", "rotate"), "d1": unix}
    assert found.relevant == {"q0": {"d1": 1}}


def test_a_solution_that_is_too_long_is_neither_asked_for_nor_found() -> None:
    found = read_leetcode_p2s([*_files(7), *_files(17, "x" * 3001)])
    assert len(found.queries) == len(found.documents) == 1
