from codequarry.data.sources.train_readers.leetcode_solutions import read_leetcode

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
