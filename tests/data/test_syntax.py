"""Each language's fixture is written so that its comments say what must be found."""

import subprocess
import sys
import textwrap

import pytest

from codequarry.data.languages import LANGUAGES
from codequarry.data.syntax import SourceReport, parse_source, read_source, read_tree

PYTHON = '''
# A lone remark.

# Adds one.
@cache
def add(x):
    def inner(): "inner doc"
    return x + 1

class Stack:
    """Last in, first out."""

    @property
    def top(self):
        """The newest item.

        Stays where it is: é.
        """

        return self._items[-1]

    class Error(Exception): pass

if sys.version_info > (3,):
    async def one_line(): "Says one."; return """
not indented"""
'''
JAVASCRIPT = """
/* licence */

/**
 * Adds one.
 * @param x a number
 */
export function add(x) { function inner() {} return x + 1 }

// Not this:

const twice = async (x) => {
  return 2 * x
}
let remark = 1 // belongs to remark
class Stack {
  // The newest item.
  // Stays where it is.
  get top() { return this.items[0] }
  #hidden = () => { return 1 }
}
// A method of old.
Old.prototype.grow = function () { return 1 }
"""
TYPESCRIPT = """
/** Holds things. */
@Injectable()
export abstract class Box<T> extends Base {
  /** Opens it. */
  @Log()
  open(x: number): string { return '' }
  abstract close(): void;
}
interface Shape { area: number }
namespace Geometry {
  // Area of a disc.
  export const area = (r: number): number => Math.PI * r * r;
}
"""
TSX = """
// Shows a name.
export const Name = ({ name }: Props) => <b>{name}</b>;
"""
JAVA = """
package a;
/** A box. */
@Deprecated
public class Box<T> {
  /* Makes one. */
  Box() { }
  /**
   * Opens it.
   * @return nothing
   */
  @Override public <S> S open(S s) { return s; }
  enum Size { SMALL; int cm() { return 1; } }
  interface Lid { int weight(); }
}
"""
GO = """
package a

// Box holds things.
type Box[T any] struct {
\titems []T
}

// Open opens it.
//
//go:noinline
func (b *Box[T]) Open() error { return nil }

type (
\t// Lid covers.
\tLid struct{}
\tName string
)

func main() { f := func() {}; f() }
"""
RUST = """
//! A crate.

/// A box.
#[derive(Debug)]
pub struct Box<T> { item: T }

impl<T> Lid for Box<T> {
    /// Opens it,
    /// slowly.
    #[inline]
    #[must_use]
    pub fn open(&self) -> bool {
        //! Inner words.
        true
    }
}
mod inside { pub fn deep() {} }
trait Lid { fn open(&self) -> bool; fn shut(&self) {} }
"""
C = """
/* not for add */

#ifdef FAST
// Adds one,
// fast.
static int *add(int *x) { return x + 1; }
#else
int slow(void) { return 1; }   // remark of slow
int next(void) { return 2; }
#endif
/** A point. */
typedef struct { int x; } Point;
struct Line { int a; };
struct Line use(struct Line l);
"""
CPP = """
BEGIN_MACRO
namespace a::b {
// A queue.
template <class T>
class Queue : public Base {
 public:
  /// Makes one.
  Queue(int x) : x_(x) {}
  bool operator<(int y) const { return x_ < y; }
  struct Node { int x; };
};
}
int Queue::size() { return 1; }
extern "C" { void plain() {} }
"""

# file: source, and per definition its kind, name, first word of its first line, comment
EXPECTED = {
    "a.py": (
        PYTHON,
        [
            ("function", "add", "@cache", "Adds one."),
            ("class", "Stack", "class", "Last in, first out."),
            ("method", "Stack.top", "@property", "The newest item.\n\nStays where it is: é."),
            ("class", "Stack.Error", "class", ""),
            ("function", "one_line", "async", "Says one."),
        ],
    ),
    "a.js": (
        JAVASCRIPT,
        [
            ("function", "add", "export", "Adds one.\n@param x a number"),
            ("function", "twice", "const", ""),
            ("class", "Stack", "class", ""),
            ("method", "Stack.top", "get", "The newest item.\nStays where it is."),
            ("method", "Stack.#hidden", "#hidden", ""),
            ("function", "Old.prototype.grow", "Old.prototype.grow", "A method of old."),
        ],
    ),
    "a.ts": (
        TYPESCRIPT,
        [
            ("class", "Box", "@Injectable()", "Holds things."),
            ("method", "Box.open", "@Log()", "Opens it."),
            ("class", "Shape", "interface", ""),
            ("function", "Geometry.area", "export", "Area of a disc."),
        ],
    ),
    "a.tsx": (TSX, [("function", "Name", "export", "Shows a name.")]),
    "A.java": (
        JAVA,
        [
            ("class", "Box", "@Deprecated", "A box."),
            ("method", "Box.Box", "Box()", "Makes one."),
            ("method", "Box.open", "@Override", "Opens it.\n@return nothing"),
            ("class", "Box.Size", "enum", ""),
            ("method", "Box.Size.cm", "enum", ""),
            ("class", "Box.Lid", "interface", ""),
            ("method", "Box.Lid.weight", "interface", ""),
        ],
    ),
    "a.go": (
        GO,
        [
            ("class", "Box", "type", "Box holds things."),
            ("method", "Box.Open", "func", "Open opens it."),
            ("class", "Lid", "Lid", "Lid covers."),
            ("function", "main", "func", ""),
        ],
    ),
    "a.rs": (
        RUST,
        [
            ("class", "Box", "#[derive(Debug)]", "A box."),
            ("method", "Box.open", "#[inline]", "Opens it,\nslowly."),
            ("function", "inside.deep", "mod", ""),
            ("class", "Lid", "trait", ""),
            ("method", "Lid.shut", "trait", ""),
        ],
    ),
    "a.c": (
        C,
        [
            ("function", "add", "static", "Adds one,\nfast."),
            ("function", "slow", "int", ""),
            ("function", "next", "int", ""),
            ("class", "Point", "typedef", "A point."),
            ("class", "Line", "struct", ""),
        ],
    ),
    "a.h": (
        CPP,
        [
            ("class", "Queue", "template", "A queue."),
            ("method", "Queue.Queue", "Queue(int", "Makes one."),
            ("method", "Queue.operator<", "bool", ""),
            ("class", "Queue.Node", "struct", ""),
            ("method", "Queue.size", "int", ""),
            ("function", "plain", "extern", ""),
        ],
    ),
}


@pytest.mark.parametrize("path", EXPECTED)
def test_every_language_gives_its_definitions_with_their_comments(path):
    text, expected = EXPECTED[path]
    found = [
        (one.kind, one.name.removeprefix("a.b."), one.code.split()[0], one.comment)
        for one in parse_source(path, text)
    ]
    assert found == expected


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("path", EXPECTED)
def test_line_numbers_point_at_the_code_and_at_the_comment(path, newline):
    text = EXPECTED[path][0]
    lines = text.split("\n")
    for one in parse_source(path, text.replace("\n", newline)):
        there = lines[one.start_line - 1 : one.end_line]
        indent = len(there[0]) - len(there[0].lstrip())
        assert one.code.split("\n") == [
            line[indent:].rstrip() if line[:indent].isspace() or not indent else line.rstrip()
            for line in there
        ]
        if one.comment:
            written = "\n".join(lines[one.comment_start_line - 1 : one.comment_end_line])
            assert all(line.strip() in written for line in one.comment.split("\n"))
        else:
            assert (one.comment_start_line, one.comment_end_line) == (0, 0)


def test_every_language_with_a_grammar_has_a_fixture_here():
    with_grammar = {language.name for language in LANGUAGES if language.grammar}
    fixtures = {"a.js", "a.ts", "a.tsx", "A.java", "a.go", "a.rs", "a.c", "a.h"}
    assert len(with_grammar) == len(fixtures) == len(EXPECTED) - 1


def test_no_file_ending_belongs_to_two_languages():
    endings = [ending for language in LANGUAGES for ending in (*language.extensions, *language.filenames)]
    assert len(endings) == len(set(endings))


def test_bare_code_of_python_still_compiles_and_says_nothing_of_its_docstring():
    found = {one.name: one for one in parse_source("a.py", PYTHON)}
    assert found["Stack.top"].bare_code == "@property\ndef top(self):\n    return self._items[-1]"
    assert found["one_line"].bare_code == 'async def one_line(): return """\nnot indented"""'
    for one in found.values():
        assert not one.comment or one.comment not in one.bare_code
        compile(one.code, one.name, "exec")
        compile(one.bare_code, one.name, "exec")


def test_a_docstring_on_the_line_of_its_function_is_cut_out_of_that_line():
    (one,) = parse_source("a.py", 'def größe(): "Say.";  return 1\n')
    assert (one.comment, one.bare_code) == ("Say.", "def größe(): return 1")


def test_the_doc_comment_that_opens_a_body_leaves_bare_code_and_speaks_where_none_stands_above():
    (one,) = parse_source("a.js", "function f() {\n  /** Says why. */\n  return 1\n}\n")
    assert (one.comment, one.comment_start_line) == ("Says why.", 2)
    assert one.bare_code == "function f() {\n  return 1\n}"
    (rust,) = [one for one in parse_source("a.rs", RUST) if one.name == "Box.open"]
    assert "Inner words" not in rust.bare_code


def test_a_comment_with_a_blank_line_below_it_is_nobodys():
    for path, mark in (("a.py", "#"), ("a.go", "//")):
        body = "def f(): pass" if path == "a.py" else "func f() {}"
        (one,) = parse_source(path, f"{mark} heading\n\n{body}\n")
        assert one.comment == ""


def test_rules_and_directives_are_no_part_of_a_comment():
    (one,) = parse_source("a.py", "# ------\n# Says it.\n# noqa: E501\ndef f(): pass\n")
    assert one.comment == "Says it."


def test_a_broken_definition_is_left_out_and_its_neighbours_stay():
    text = "int good(void) { return 1; }\nint bad(void) { return ((1; }\nint also(void) { return 2; }\n"
    assert [one.name for one in parse_source("a.c", text)] == ["good", "also"]
    text = "class A {\n  int good() { return 1; }\n  int bad() { return ((1; }\n}\n"
    assert [one.name for one in parse_source("A.java", text)] == ["A.good"]


NASTY = {
    "python 2": ("a.py", "print 'hello'\n"),
    "null byte": ("a.py", "x = 1\0\n"),
    "deep python": ("a.py", "(" * 5_000 + ")" * 5_000),
    "deep c": ("a.c", "{" * 20_000),
    "deep namespaces": ("a.cpp", "namespace a { " * 3_000 + "}" * 3_000),
    "long chain": ("a.py", "if a: pass\n" + "elif b: pass\n" * 3_000),
    "surrogate": ("a.rs", 'fn f() { "\udc80" }'),
    "no words": ("a.java", "@@@@ ((((( {{{{{"),
    "no grammar": ("a.rb", "def f; end"),
    "no kind": ("a.bin", "?"),
    "empty": ("a.go", ""),
}


@pytest.mark.parametrize("case", NASTY)
def test_nothing_in_a_text_is_fatal(case):
    assert isinstance(parse_source(*NASTY[case]), tuple)


def test_a_bad_escape_in_someones_string_warns_nobody(recwarn):
    parse_source("a.py", 'def f():\n    return "\\d"\n')
    assert not recwarn.list


def test_a_file_that_does_not_parse_is_read_counted_and_without_definitions(tmp_path):
    (tmp_path / "old.py").write_text("print 'hello'\n")
    (tmp_path / "bad.c").write_text("}} int f( {")
    report = SourceReport()
    read = list(read_tree(tmp_path, report, progress=False))
    assert [(source.path, source.definitions) for source in read] == [("bad.c", ()), ("old.py", ())]
    assert (report.read, report.skipped) == (2, {"does not parse": 2})


def test_text_comes_without_byte_order_mark_and_with_plain_newlines(tmp_path):
    (tmp_path / "a.py").write_bytes(b"\xef\xbb\xbfdef f():\r\n    return 1\r\n")
    source = read_source(tmp_path, "a.py", SourceReport())
    assert source.text == "def f():\n    return 1\n"
    assert source.definitions[0].code == source.text.strip()


def test_a_header_is_read_in_the_language_it_is_written_in(tmp_path):
    (tmp_path / "plus.h").write_text(CPP)
    (tmp_path / "plain.h").write_text(C)
    assert [source.language for source in read_tree(tmp_path, SourceReport())] == ["c", "cpp"]


def test_a_grammar_is_imported_only_when_its_language_is_met_and_a_missing_one_says_what_to_install():
    program = """
        import sys
        from codequarry.data.syntax import parse_source
        parse_source("a.py", "def f(): pass")
        assert not [name for name in sys.modules if name.startswith("tree_sitter")]
        parse_source("a.go", "package a")
        grammars = {name.partition(".")[0] for name in sys.modules if name.startswith("tree_sitter_")}
        assert grammars == {"tree_sitter_go"}, grammars
        sys.modules["tree_sitter_rust"] = None
        try:
            parse_source("a.rs", "fn f() {}")
        except ImportError as error:
            assert "pip install tree-sitter tree-sitter-rust" in str(error)
        else:
            raise SystemExit("no error")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)
