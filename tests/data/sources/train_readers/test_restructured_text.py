from codequarry.data.sources.train_readers.restructured_text import restructured

PAGE = """.. index:: single: Yaml

The Yaml Component
==================

Loads files, see :doc:`the guide </guide>` and `Twig <https://twig.example>`_.

Reading Contents
----------------

Call :method:`Yaml::parse`::

    $value = Yaml::parse('a');
"""


def test_underlines_make_sections_and_roles_become_text():
    _, top, below = restructured(PAGE)
    assert (top.level, top.heading) == (1, "The Yaml Component")
    assert top.text == "Loads files, see `the guide` and Twig."
    assert (below.level, below.heading) == (2, "Reading Contents")
    assert below.text == "Call `Yaml::parse`::\n\n    $value = Yaml::parse('a');"
