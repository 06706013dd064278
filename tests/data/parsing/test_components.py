"""Components: scripts among other text, on the lines of the file."""

import pytest

from codequarry.data.parsing.parse import parse_source, read_source
from codequarry.data.parsing.source_files import SourceReport

ADD = "/** Adds. */\nfunction add(a, b) {\n  return a + b\n}\n"
TYPED = "/** Adds. */\nfunction add(a: number, b?: number): number {\n  return a + b\n}\n"
MARKUP = '<template>\n  <p @click="a > b">{{ function () {} }}</p>\n</template>\n'
GENERIC = '<script lang="ts" generic="T extends Map<string, X>">'
TWICE = "const twice = (x) => {\n  return 2 * x\n}\n"
STYLE = "<style>\na { b: c }\n</style>\n"

# The text, the language of its scripts, the names of what they define.
COMPONENTS = {
    "script of Vue": ("a.vue", f"{MARKUP}<script>\n{ADD}</script>\n{STYLE}", "javascript", ["add"]),
    "TypeScript": ("a.vue", f'{MARKUP}<script setup lang="ts">\n{TYPED}</script>\n', "typescript", ["add"]),
    "a sign in an attribute": (
        "a.vue", f"{GENERIC}\n{TYPED}</script>\n", "typescript", ["add"]
    ),
    "two scripts": (
        "a.vue",
        f"<script>\n{ADD}</script>\n{MARKUP}<script setup>\n{TWICE}</script>\n",
        "javascript",
        ["add", "twice"],
    ),
    "options": (
        "a.vue",
        f"{MARKUP}<script>\nexport default {{\n  methods: {{\n    load() {{\n      return 1\n    }},\n"
        "    other: function () {\n      return 2\n    },\n  },\n}\n</script>\n",
        "javascript",
        ["load", "other"],
    ),
    "Svelte": ("a.svelte", f'<script context="module">\n{ADD}</script>\n<p/>\n', "javascript", ["add"]),
    "front matter": ("a.astro", f"---\nimport X from 'x'\n{TYPED}---\n<X/>\n", "typescript", ["add"]),
    "front matter and script": (
        "a.astro", f"---\nconst a = 1\n---\n<script>\n{TYPED}</script>\n", "typescript", ["add"]
    ),
    "no script": ("a.vue", MARKUP, "vue", []),
    "a comment": ("a.vue", f"<!-- <script>\n{ADD}</script> -->\n{MARKUP}", "vue", []),
    "data": ("a.vue", '<script type="application/json">\n{"a": 1}\n</script>\n', "vue", []),
    "half-written": ("a.vue", f"{MARKUP}<script>\n{ADD}\nfunction broken(", "javascript", ["add"]),
}  # fmt: skip


@pytest.mark.parametrize("case", COMPONENTS)
def test_scripts_are_parsed_on_the_lines_of_the_file(case, tmp_path):
    path, text, language, names = COMPONENTS[case]
    (tmp_path / path).write_text(text)
    source = read_source(tmp_path, path, SourceReport())
    assert (source.text, source.language) == (text, language)
    assert [one.name for one in source.definitions] == names
    lines = text.split("\n")
    for one in source.definitions:
        assert one.name in lines[one.start_line - 1]
        assert one.code.split("\n")[-1].strip() == lines[one.end_line - 1].strip()
        assert one.comment == ("Adds." if one.name == "add" else "")


def test_a_component_is_found_by_its_name_alone():
    assert [one.name for one in parse_source("deep/A.vue", COMPONENTS["TypeScript"][1])] == ["add"]
