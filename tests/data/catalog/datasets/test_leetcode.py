from codequarry.data.catalog.datasets.leetcode import (
    is_held_out_problem,
    plain_statement,
    read_leetcode,
    read_leetcode_p2s,
)

CODE = "class Solution {{ /* {} long enough to be a solution of something */ }}"

THEIRS = """# Time:  O(n)
# Space: O(1)

class Solution(object):
    def twoSum(self, nums, target):
        return sorted(nums)


# Time:  O(n^2)
# Space: O(1)
class Solution2(object):
    pass
"""


def ours(number, title, *suffixes):
    return [
        (
            f"doocs/leetcode/solution/0000-0099/{number:04}.{title}/Solution.{suffix}",
            CODE.format(suffix).encode(),
        )
        for suffix in suffixes
    ]


def test_six_pairs_of_one_author_a_problem():
    pairs = list(read_leetcode(ours(1, "Two Sum", "py", "cpp", "java", "go", "rs", "sql")))
    assert len(pairs) == 6
    assert all(pair.query != pair.document for pair in pairs)
    assert not any("sql" in pair.language for pair in pairs)


def test_another_authors_first_solution_is_paired_by_title():
    files = [*ours(1, "Two Sum", "py"), ("kamyu104/LeetCode-Solutions/Python/two-sum.py", THEIRS.encode())]
    (pair,) = read_leetcode(files)
    assert pair.language == "python-python"
    assert pair.query == CODE.format("py")
    assert pair.document == (
        "class Solution(object):\n    def twoSum(self, nums, target):\n        return sorted(nums)"
    )


def test_what_is_evaluated_on_is_left_out():
    files = [
        *ours(7, "Reverse Integer", "py", "cpp"),
        *ours(3200, "Maximum Height", "py", "cpp"),
        ("kamyu104/LeetCode-Solutions/Python/reverse-integer.py", THEIRS.encode()),
    ]
    assert list(read_leetcode(files)) == []


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
