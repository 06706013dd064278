from collections import Counter

import pytest

from codequarry.data.mining.unit_tests import MANY_TESTS, MAX_TESTS, NO_SUBJECT, find_tests, pairs_of_tests
from codequarry.data.parsing.parse import read_source
from codequarry.data.parsing.source_files import SourceReport

# By language a file of code and a file with a test of it.
PROJECTS = {
    "python": """
== src/dates.py
def parse_date(text):
    parts = text.split('-')
    return tuple(map(int, parts))
== tests/test_dates.py
def test_parse_date_with_zeros():
    found = parse_date('2020-01-01')
    assert found
""",
    "python class": """
== src/dates.py
class Reader:
    def read(self):
        x = self.x
        return x + 1
== tests/test_dates.py
class TestReader:
    def test_read_twice(self):
        r = Reader()
        assert r.read() == r.read()
""",
    "java should": """
== main/java/Reader.java
class Reader {
  int read(int a) {
    go();
    return a;
  }
}
== src/test/java/ReaderTest.java
class ReaderTest {
  @Test
  void shouldStopAtTheEnd() {
    Reader r = new Reader();
    r.read(1);
  }
}
""",
    "go": """
== dates/parse.go
func ParseDate(text string) int {
	x := len(text)
	return x
}
== dates/parse_test.go
func TestParseDate(t *testing.T) {
	x := ParseDate("a")
	t.Log(x)
}
""",
    "rust": """
== src/dates.rs
pub fn parse_date(text: &str) -> usize {
    let x = text.len();
    x
}
== src/more.rs
mod tests {
    #[test]
    fn parse_date_is_long() {
        let x = parse_date("a");
        assert!(x > 0);
    }
}
""",
    "csharp": """
== src/Reader.cs
class Reader {
  public int ReadAll(int a) {
    Go();
    return a;
  }
}
== test/ReaderTests.cs
class ReaderTests {
  [Fact]
  public void ReadAllStops() {
    var r = new Reader();
    r.ReadAll(1);
  }
}
""",
    "php": """
== src/Reader.php
<?php class Reader {
  function readAll($a) {
    go();
    return $a;
  }
}
== tests/ReaderTest.php
<?php class ReaderTest {
  public function testReadAll() {
    $r = new Reader();
    $r->readAll(1);
  }
}
""",
    "ruby": """
== lib/reader.rb
class Reader
  def read_all(a)
    go(a)
    a
  end
end
== test/reader_test.rb
class ReaderTest
  def test_read_all
    r = Reader.new
    r.read_all 1
  end
end
""",
}


def files_of(language):
    """(path, text) of the code, and of the test."""
    parts = [part.split("\n", 1) for part in PROJECTS[language].split("\n== ")[1:]]
    return [(path, text) for path, text in parts]


CODE, TEST = files_of("python")
PARSE = CODE[1]


def found_in(tmp_path, *files):
    tests, functions = [], []
    for path, text in files:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        of_file = find_tests(read_source(tmp_path, path, SourceReport()))
        tests += of_file[0]
        functions += of_file[1]
    filtered: Counter[str] = Counter()
    return list(pairs_of_tests(tests, functions, "project", filtered)), filtered


@pytest.mark.parametrize("language", PROJECTS)
def test_a_test_finds_the_function_that_its_name_and_its_calls_tell(tmp_path, language):
    code, test = files_of(language)
    (one,), filtered = found_in(tmp_path, code, test)
    assert one.pair.task == "code2code"
    assert one.place == code[0]
    assert one.pair.document.split("\n")[0] in code[1]
    assert one.pair.query.split("\n")[-1].strip() in test[1]
    assert one.origins == (one.pair.query, one.pair.document)
    assert not filtered


def test_a_name_that_two_functions_share_tells_neither(tmp_path):
    found, filtered = found_in(tmp_path, ("src/a.py", PARSE), ("src/b.py", PARSE), TEST)
    assert (found, filtered) == ([], {NO_SUBJECT.name: 1})


def test_the_file_that_a_test_file_is_called_after_decides_between_two(tmp_path):
    (one,), _ = found_in(tmp_path, ("src/dates.py", PARSE), ("src/b.py", PARSE), TEST)
    assert one.place == "src/dates.py"


def test_a_name_without_a_call_and_a_call_without_the_name_tell_nothing(tmp_path):
    said = TEST[1].replace("parse_date('2020-01-01')", "other('2020')")
    called = TEST[1].replace("test_parse_date_with_zeros", "test_that_it_works")
    for text in (said, called):
        found, filtered = found_in(tmp_path, ("src/dates.py", PARSE), (TEST[0], text))
        assert (found, filtered) == ([], {NO_SUBJECT.name: 1})


def test_one_word_inside_a_longer_name_tells_nothing_of_another_place(tmp_path):
    code = "def get(a):\n    b = a\n    return b + 1\n"
    test = "def test_how_to_get_out():\n    client = Client()\n    assert client.get(1)\n"
    assert found_in(tmp_path, ("src/store.py", code), ("tests/test_client.py", test))[0] == []


def test_helpers_beside_tests_are_not_what_is_tested(tmp_path):
    helper = ("tests/test_help.py", PARSE)
    assert found_in(tmp_path, helper, TEST)[1] == {NO_SUBJECT.name: 1}


def test_of_many_tests_of_one_function_the_first_are_kept(tmp_path):
    text = "\n\n".join(TEST[1].replace("zeros", f"number_{n}") for n in range(MAX_TESTS + 2))
    found, filtered = found_in(tmp_path, ("src/dates.py", PARSE), (TEST[0], text))
    assert len(found) == MAX_TESTS
    assert filtered == {MANY_TESTS.name: 2}
