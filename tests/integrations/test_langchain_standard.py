"""LangChain's own suites for embeddings, over ours."""

from typing import Any

from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from codequarry.integrations.langchain import CodequarryEmbeddings


class _Ours:
    @property
    def embeddings_class(self) -> type[CodequarryEmbeddings]:
        return CodequarryEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "mini", "task": "qa", "dims": 128, "device": "cpu"}


class TestUnit(_Ours, EmbeddingsUnitTests):
    """Its one test of values from the environment is skipped: ours reads none."""


class TestIntegration(_Ours, EmbeddingsIntegrationTests):
    """Both sides, in threads too."""
