"""The description names every route and field there is, and its examples are answered."""

import re

import pytest

from codequarry.integrations.serve.openapi import ROUTES, openapi, page


def test_every_described_route_is_there_and_its_example_is_answered(asking):
    async def test(client, service):
        served = {
            (method, route.path.replace(":path}", "}"))
            for route in service.app.routes
            for method in route.methods - {"HEAD"}
        }
        described = (await client.get("/openapi.json")).json()
        assert served == {
            (method.upper(), path) for path, methods in described["paths"].items() for method in methods
        }
        for path, methods in described["paths"].items():
            for method, operation in methods.items():
                body = operation.get("requestBody")
                example = body and body["content"]["application/json"]["example"]
                answer = await client.request(method, path.replace("{id}", "tiny"), json=example)
                assert answer.status_code == 200, (path, answer.text)
                kind = next(iter(operation["responses"]["200"]["content"]))
                assert (kind == "application/json") is (answer.headers["content-type"] == "application/json")

    asking(test)


def resolve(reference, document):
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document


def references(node):
    if isinstance(node, dict):
        yield from ([node["$ref"]] if "$ref" in node else [])
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


@pytest.mark.parametrize("key", [True, False])
def test_the_document_is_whole(key):
    document = openapi(key=key)
    assert document["openapi"] == "3.1.0"
    found = list(references(document))
    assert found
    for reference in found:
        assert resolve(reference, document)
    secured = [
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "security" in operation
    ]
    assert secured == ([(route.method, route.path) for route in ROUTES if route.key] if key else [])
    operations = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(operations) == len(set(operations)) == len(ROUTES)


def test_every_field_of_a_body_is_described_in_the_document_and_on_the_page():
    document, shown = openapi(key=False), page()
    for route in ROUTES:
        if route.body is None:
            continue
        fields = document["components"]["schemas"][route.body.__name__]["properties"]
        assert set(fields) == set(route.body.model_fields)
        for name, field in fields.items():
            assert field["description"].endswith(".")
            assert f"<code>{name}</code>" in shown
        assert f"{route.method} {route.path}" in shown


def test_the_page_loads_nothing_from_elsewhere():
    links = re.findall(r"(?:src|href|url|action)\s*=?\s*[\"'(]([^\"')]+)", page())
    assert links == ["openapi.json"]
    assert "<script" not in page()


def test_what_is_described_as_open_needs_no_key_and_all_else_does(asking):
    async def test(client, _):
        for route in ROUTES:
            path = route.path.replace("{id}", "tiny")
            answer = await client.request(route.method, path, json=route.example)
            assert (answer.status_code == 401) is route.key, route.path
            assert answer.status_code in (200, 401)

    asking(test, key="open")
