"""`/docs`: all that the description holds, as a page of the server's own."""

import html
import re

from moodreel.serving.server.docs_page import write_page


def test_the_page_tells_every_call_and_schema(client):
    response = client.get("/docs")
    assert response.headers["content-type"].startswith("text/html") and response.status_code == 200
    document, text = client.get("/openapi.json").json(), html.unescape(response.text)
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            assert f"{method.upper()} {path}</code>" in text and call["summary"] in text
    for name in document["components"]["schemas"]:
        assert f'id="schema-{name}"' in response.text
    ids = re.findall(r' id="([^"]+)"', response.text)
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in re.findall(r'href="(#[^"]+)"', response.text)} <= set(ids)
    for address in re.findall(r'(?:href|src)="([^#"]+)"', response.text):
        assert client.get(f"/{address}").status_code == 200, f"{address} is not there"
    assert "docs" not in str(document["paths"].keys())


def test_what_the_description_says_stays_text():
    evil = "<script>alert(1)</script>"
    page = write_page(
        {
            "info": {"title": evil, "version": evil, "summary": evil, "description": f"`{evil}`\n\n1. {evil}\n2. b"},
            "paths": {
                evil: {
                    "get": {
                        "operationId": evil,
                        "summary": evil,
                        "parameters": [{"name": evil, "in": "path", "schema": {"enum": [evil]}}],
                        "responses": {"200": {"content": {evil: {"schema": {"const": evil}, "example": {"a": evil}}}}},
                    }
                }
            },
            "components": {"schemas": {evil: {"type": ["object", "null"], "properties": {evil: {}}}}},
        }
    )
    assert "<script" not in page and "&lt;script" in page and "<ol><li>" in page
