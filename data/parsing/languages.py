"""Which language a file is written in, by its name, and how the languages with a grammar are laid out.

Everything about a language is in its row of `LANGUAGES`; a new one is a new row.
"""

import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class Grammar:
    """The tree-sitter node types that matter in one language.

    package: what pip installs; its module is the same name with underscores.
    factory: the function of that module which returns the grammar.
    functions: nodes that are a function, or a method inside a class.
    methods: nodes that are always a method.
    classes: nodes that are a class, struct, interface or enum.
    scopes: nodes that put their name before what they hold and are no definition themselves.
    passages: nodes that are walked through without a trace, such as `#ifdef` or a class body.
    wrappers: nodes whose lines belong to the one definition inside them, such as `export`.
    bindings: nodes that give a name to a function or class expression.
    attached: attributes and decorators that precede a definition as its siblings.
    blocks: nodes whose children are statements.
    opening: what a function alone needs before its first word to be read, such as PHP's tag.
    """

    package: str
    factory: str = "language"
    functions: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    passages: frozenset[str] = frozenset()
    wrappers: frozenset[str] = frozenset()
    bindings: frozenset[str] = frozenset()
    attached: frozenset[str] = frozenset()
    blocks: frozenset[str] = frozenset()
    opening: str = ""


@dataclass(frozen=True, slots=True)
class Language:
    """One language: its name in lower case, its file endings, its whole file names, its grammar if any.

    prose: texts for people, where a very long line is a paragraph and not a sign of a minified file.
    """

    name: str
    extensions: tuple[str, ...]
    filenames: tuple[str, ...] = ()
    grammar: Grammar | None = None
    prose: bool = False


def _types(names: str) -> frozenset[str]:
    return frozenset(names.split())


_JAVASCRIPT = Grammar(
    package="tree-sitter-javascript",
    functions=_types("function_declaration generator_function_declaration function_expression"),
    methods=_types("method_definition"),
    classes=_types("class_declaration class"),
    passages=_types("class_body statement_block"),
    wrappers=_types("export_statement"),
    bindings=_types("lexical_declaration variable_declaration expression_statement field_definition"),
    attached=_types("decorator"),
    blocks=_types("statement_block switch_case switch_default"),
)
_TYPESCRIPT = Grammar(
    package="tree-sitter-typescript",
    factory="language_typescript",
    functions=_JAVASCRIPT.functions,
    methods=_JAVASCRIPT.methods,
    classes=_types(
        "class_declaration abstract_class_declaration class interface_declaration enum_declaration"
    ),
    scopes=_types("internal_module module"),
    passages=_types("class_body statement_block ambient_declaration"),
    wrappers=_JAVASCRIPT.wrappers,
    bindings=_types("lexical_declaration variable_declaration expression_statement public_field_definition"),
    attached=_JAVASCRIPT.attached,
    blocks=_JAVASCRIPT.blocks,
)
_C_PASSAGES = (
    "preproc_if preproc_ifdef preproc_else preproc_elif preproc_elifdef"
    " linkage_specification declaration_list"
)

LANGUAGES: tuple[Language, ...] = (
    Language("python", (".py", ".pyi", ".pyw")),
    Language("javascript", (".js", ".mjs", ".cjs", ".jsx"), grammar=_JAVASCRIPT),
    Language("typescript", (".ts", ".mts", ".cts"), grammar=_TYPESCRIPT),
    Language("tsx", (".tsx",), grammar=replace(_TYPESCRIPT, factory="language_tsx")),
    Language(
        "java",
        (".java",),
        grammar=Grammar(
            package="tree-sitter-java",
            methods=_types("method_declaration constructor_declaration compact_constructor_declaration"),
            classes=_types(
                "class_declaration interface_declaration enum_declaration record_declaration"
                " annotation_type_declaration"
            ),
            passages=_types("class_body interface_body enum_body enum_body_declarations"),
            blocks=_types("block constructor_body switch_block_statement_group"),
        ),
    ),
    Language(
        "go",
        (".go",),
        grammar=Grammar(
            package="tree-sitter-go",
            functions=_types("function_declaration"),
            methods=_types("method_declaration"),
            wrappers=_types("type_declaration"),
            bindings=_types("type_spec"),
            blocks=_types("statement_list expression_case type_case default_case communication_case"),
        ),
    ),
    Language(
        "rust",
        (".rs",),
        grammar=Grammar(
            package="tree-sitter-rust",
            functions=_types("function_item"),
            classes=_types("struct_item enum_item union_item trait_item"),
            scopes=_types("impl_item mod_item"),
            passages=_types("declaration_list foreign_mod_item"),
            attached=_types("attribute_item"),
            blocks=_types("block"),
        ),
    ),
    Language(
        "c",
        (".c", ".h"),
        grammar=Grammar(
            package="tree-sitter-c",
            functions=_types("function_definition"),
            classes=_types("struct_specifier union_specifier enum_specifier"),
            passages=_types(_C_PASSAGES),
            wrappers=_types("type_definition"),
            blocks=_types("compound_statement case_statement"),
        ),
    ),
    Language(
        "cpp",
        (".cpp", ".cc", ".cxx", ".c++", ".hpp", ".hh", ".hxx", ".h++", ".ipp", ".cu", ".cuh"),
        grammar=Grammar(
            package="tree-sitter-cpp",
            functions=_types("function_definition"),
            classes=_types("struct_specifier union_specifier enum_specifier class_specifier"),
            scopes=_types("namespace_definition"),
            passages=_types(_C_PASSAGES + " field_declaration_list field_declaration"),
            wrappers=_types("type_definition template_declaration"),
            blocks=_types("compound_statement case_statement"),
        ),
    ),
    Language(
        "ruby",
        (".rb", ".rake"),
        ("Rakefile", "Gemfile"),
        grammar=Grammar(
            package="tree-sitter-ruby",
            functions=_types("method singleton_method"),
            classes=_types("class"),
            scopes=_types("module"),
            passages=_types("singleton_class body_statement do_block block block_body if unless then"),
            wrappers=_types("call argument_list"),  # `private def …`
            blocks=_types("body_statement block_body then else ensure"),
        ),
    ),
    Language(
        "php",
        (".php",),
        grammar=Grammar(
            package="tree-sitter-php",
            factory="language_php",
            functions=_types("function_definition"),
            methods=_types("method_declaration"),
            classes=_types("class_declaration interface_declaration trait_declaration enum_declaration"),
            passages=_types("namespace_definition compound_statement if_statement"),
            blocks=_types("compound_statement case_statement default_statement"),
            opening="<?php ",
        ),
    ),
    Language(
        "csharp",
        (".cs",),
        grammar=Grammar(
            package="tree-sitter-c-sharp",
            functions=_types("local_function_statement"),
            methods=_types("method_declaration constructor_declaration destructor_declaration"),
            classes=_types(
                "class_declaration struct_declaration interface_declaration record_declaration"
                " enum_declaration"
            ),
            passages=_types(
                "namespace_declaration declaration_list preproc_if preproc_else global_statement"
            ),
            blocks=_types("block switch_section"),
        ),
    ),
    Language("kotlin", (".kt", ".kts")),
    Language("swift", (".swift",)),
    Language("scala", (".scala", ".sc")),
    Language("dart", (".dart",)),
    Language("lua", (".lua",)),
    Language("perl", (".pl", ".pm")),
    Language("r", (".r", ".R")),
    Language("julia", (".jl",)),
    Language("elixir", (".ex", ".exs")),
    Language("erlang", (".erl", ".hrl")),
    Language("haskell", (".hs",)),
    Language("ocaml", (".ml", ".mli")),
    Language("clojure", (".clj", ".cljs", ".cljc")),
    Language("zig", (".zig",)),
    Language("objective-c", (".m", ".mm")),
    Language("cython", (".pyx", ".pxd")),
    Language("shell", (".sh", ".bash", ".zsh", ".fish")),
    Language("powershell", (".ps1", ".psm1")),
    Language("sql", (".sql",)),
    Language("html", (".html", ".htm")),
    Language("css", (".css", ".scss", ".sass", ".less")),
    Language("vue", (".vue",)),
    Language("svelte", (".svelte",)),
    Language("yaml", (".yaml", ".yml")),
    Language("toml", (".toml",)),
    Language("ini", (".ini", ".cfg")),
    Language("protobuf", (".proto",)),
    Language("graphql", (".graphql", ".gql")),
    Language("terraform", (".tf",)),
    Language("cmake", (".cmake",), ("CMakeLists.txt",)),
    Language("make", (".mk",), ("Makefile", "makefile", "GNUmakefile")),
    Language("docker", (".dockerfile",), ("Dockerfile",)),
    Language("markdown", (".md", ".markdown", ".mdx"), prose=True),
    Language("rst", (".rst",), prose=True),
    Language("text", (".txt", ".adoc", ".org"), ("README", "CHANGELOG", "CONTRIBUTING"), prose=True),
)

BY_NAME = {language.name: language for language in LANGUAGES}
_BY_EXTENSION = {ending: language for language in LANGUAGES for ending in language.extensions}
_BY_FILENAME = {filename: language for language in LANGUAGES for filename in language.filenames}
_CPP_IN_HEADER = re.compile(
    r"^\s*(class\s+\w|namespace\b|template\s*<|using\s+\w|(public|private)\s*:)", re.M
)


def language_of(path: str) -> Language | None:
    """The language of a file by its name alone; None for a kind that is not read."""
    name = PurePosixPath(path)
    known = _BY_FILENAME.get(name.name) or _BY_EXTENSION.get(name.suffix)
    return known or _BY_EXTENSION.get(name.suffix.lower())


def language_of_text(path: str, text: str) -> Language | None:
    """The language of a file by its name and, for a `.h` that both C and C++ use, by its text."""
    language = language_of(path)
    if path.endswith(".h") and _CPP_IN_HEADER.search(text):
        return BY_NAME["cpp"]
    return language
