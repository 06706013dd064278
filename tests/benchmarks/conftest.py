"""A small evaluation set of real code: functions of the standard library and the first line of their docs."""

import ast
import inspect
import shutil
import statistics
import tempfile
import textwrap

import pytest

from codequarry.benchmarks.contenders import Contender, load_contender
from codequarry.data.eval_set import EvalSet

MODULES = (textwrap, tempfile, shutil, statistics)
SIZE = 48


@pytest.fixture(scope="session")
def functions() -> EvalSet:
    """Forty-eight functions; language is the module's name, so that there are four."""
    queries, documents, relevant, languages = {}, {}, {}, {}
    for module in MODULES:
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if not isinstance(node, ast.FunctionDef) or len(queries) == SIZE:
                continue
            text = ast.get_docstring(node)
            if text is None:
                continue
            node.body = node.body[1:] or [ast.Pass()]
            query, document = f"q{len(queries)}", f"d{len(documents)}"
            queries[query] = text.splitlines()[0]
            documents[document] = ast.unparse(node)[:250]
            relevant[query] = {document: 1}
            languages[query] = module.__name__
    assert len(queries) == SIZE
    return EvalSet("functions", "nl2code", queries, documents, relevant, languages)


@pytest.fixture(scope="session")
def minilm_contender() -> Contender:
    """all-MiniLM-L6-v2, plain: without prompts."""
    return load_contender("all-MiniLM-L6-v2")


@pytest.fixture(scope="session")
def prompted() -> Contender:
    """A model with the prompts of our five tasks: the one that comes with the package."""
    return load_contender("mini")
