"""The API's description: `GET /openapi.json`, and `GET /docs` for a browser, which loads nothing else."""

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import codequarry
from codequarry.integrations.serve.openai_schema import OpenAIBody
from codequarry.integrations.serve.schemas import Body
from codequarry.integrations.serve.tei_schema import SimilarityBody, TEIBody

_VECTOR = {"type": "array", "items": {"type": "number"}}


@dataclass(frozen=True)
class Route:
    """A route as it is described.

    body: the schema of its request; None for GET. example: a body, or None. answer: JSON schema of the
    answer, None for one that is no JSON. key: whether it asks for a key where one is set.
    """

    method: str
    path: str
    about: str
    answer: Mapping[str, Any] | None
    body: type[Body] | None = None
    example: Mapping[str, Any] | None = None
    key: bool = True


_OBJECT = {"type": "object"}

ROUTES = (
    Route(
        "POST",
        "/v1/embeddings",
        "Vectors in OpenAI's form. The prompt is named by prompt_name, task and side, input_type, or behind "
        "the model's name.",
        _OBJECT,
        OpenAIBody,
        {"input": ["parse a date"], "prompt_name": "nl2code_query"},
    ),
    Route("GET", "/v1/models", "The model's names, one for each prompt.", _OBJECT),
    Route("GET", "/v1/models/{id}", "One of these names.", _OBJECT),
    Route(
        "POST",
        "/embed",
        "Vectors in the form of text-embeddings-inference.",
        {"type": "array", "items": _VECTOR},
        TEIBody,
        {"inputs": ["parse a date"], "prompt_name": "nl2code_query"},
    ),
    Route(
        "POST",
        "/similarity",
        "The cosines of a source sentence, embedded as a query, with others, embedded as documents.",
        _VECTOR,
        SimilarityBody,
        {"inputs": {"source_sentence": "parse a date", "sentences": ["def parse(text): ..."]}},
    ),
    Route(
        "POST",
        "/",
        "As /embed, or as /similarity where inputs has a source_sentence: what huggingface_hub sends.",
        {"type": "array"},
        TEIBody,
        {"inputs": "parse a date", "prompt_name": "nl2code_query"},
    ),
    Route("GET", "/info", "Dimensions, prompts and limits.", _OBJECT),
    Route("GET", "/health", "200 once a batch has gone through the model, else 503.", _OBJECT, key=False),
    Route("GET", "/metrics", "Counters and histograms for Prometheus.", None),
    Route("GET", "/openapi.json", "This description in OpenAPI 3.1.", _OBJECT, key=False),
    Route("GET", "/docs", "This description as a page.", None, key=False),
)


def openapi(*, key: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document; `key`: whether the server asks for one."""
    components: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        operation: dict[str, Any] = {
            "summary": route.about,
            "operationId": f"{route.method} {route.path}",
            "responses": {
                "200": _content(route.answer, "The answer."),
                "default": _content(_OBJECT, "An error: a sentence and what it is about."),
            },
        }
        if "{id}" in route.path:
            operation["parameters"] = [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
            ]
        if route.body is not None:
            name = route.body.__name__
            schema = route.body.model_json_schema(ref_template="#/components/schemas/{model}")
            components |= schema.pop("$defs", {})
            components[name] = schema
            content = {"schema": {"$ref": f"#/components/schemas/{name}"}, "example": route.example}
            operation["requestBody"] = {"required": True, "content": {"application/json": content}}
        if key and route.key:
            operation["security"] = [{"key": []}]
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    described: dict[str, Any] = {"schemas": components}
    if key:
        described["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "codequarry serve", "version": codequarry.__version__},
        "paths": paths,
        "components": described,
    }


def _content(schema: Mapping[str, Any] | None, words: str) -> dict[str, Any]:
    if schema is None:
        return {"description": words, "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def page() -> str:
    """The routes with their fields as one HTML page."""
    parts = [_section(route) for route in ROUTES]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>codequarry serve</title>
<style>body {{ font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }}
table {{ border-collapse: collapse; }} td {{ border-top: 1px solid #ccc; padding: .2em 1em .2em 0;
vertical-align: top; }} pre {{ background: #f3f3f3; padding: .7em; overflow-x: auto; }}</style></head>
<body><h1>codequarry serve {html.escape(codequarry.__version__)}</h1>
<p>Machine-readable: <a href="openapi.json">openapi.json</a>. The model's prompts and limits: GET /info.</p>
{"".join(parts)}</body></html>
"""


def _section(route: Route) -> str:
    lines = [
        f"<h2><code>{route.method} {html.escape(route.path)}</code></h2><p>{html.escape(route.about)}</p>"
    ]
    if route.body is not None:
        rows = "".join(
            f"<tr><td><code>{name}</code></td><td>{html.escape(field.description or '')}</td></tr>"
            for name, field in route.body.model_fields.items()
        )
        lines.append(f"<table>{rows}</table><pre>{html.escape(_example(route))}</pre>")
    return "\n".join(lines) + "\n"


def _example(route: Route) -> str:
    return (
        f"curl -s localhost:8080{route.path} -H 'content-type: application/json' \\\n"
        f"     -d '{json.dumps(route.example)}'"
    )
