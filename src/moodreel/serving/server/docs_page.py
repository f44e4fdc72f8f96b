"""`/docs`: the API's description as a page, made of `/openapi.json`; it loads nothing from elsewhere."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from moodreel.serving.protocol.problems import MEDIA_TYPE

router = APIRouter()

_PROBLEM = {"$ref": "#/components/schemas/Problem"}

Json = dict[str, Any]


@router.get("/docs", include_in_schema=False)
async def read_docs(request: Request) -> HTMLResponse:
    """Return the description for people."""
    return HTMLResponse(write_page(request.app.openapi()))


def write_page(document: Json) -> str:
    """Return an OpenAPI document as HTML.

    Args:
        document: as `/openapi.json` holds it.
    """
    info = document["info"]
    calls = [
        (path, method, call) for path, methods in sorted(document["paths"].items()) for method, call in methods.items()
    ]
    body = "\n".join(
        [
            f"<header><h1>{_text(info['title'])} {_text(info['version'])}: the API</h1>",
            f'<p>{_text(info["summary"])} <a href="openapi.json">openapi.json</a> says the same to programs, '
            'and makes clients. <a href="./">The page</a> takes clips.</p></header>',
            "<main><h2>Calls</h2>",
            *(_write_call(*one) for one in calls),
            '<h2 id="live">Live</h2>',
            *_write_prose(info["description"]),
            "<h2>Schemas</h2>",
            *(_write_schema(name, one) for name, one in sorted(document["components"]["schemas"].items())),
            "</main>",
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<title>moodreel: the API</title>\n'
        '<link rel="icon" href="icon.svg">\n<link rel="stylesheet" href="style.css">\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _write_call(path: str, method: str, call: Json) -> str:
    good = {status: one for status, one in call["responses"].items() if MEDIA_TYPE not in one.get("content", {})}
    parts = [
        f'<section class="call" id="{_text(call["operationId"])}">',
        f"<h3><code>{method.upper()} {_text(path)}</code></h3><p>{_text(call['summary'])}. "
        f"{_text(call.get('description', ''))}</p><ul>",
        *(_write_parameter(one) for one in call.get("parameters", [])),
        *_write_bodies("Body", call.get("requestBody", {})),
        *(part for status, one in sorted(good.items()) for part in _write_bodies(status, one)),
        f"<li><strong>Failures</strong> {_write_type(_PROBLEM)}: {', '.join(_name_failures(call))}</li>",
        "</ul></section>",
    ]
    return "".join(parts)


def _name_failures(call: Json) -> Iterator[str]:
    """Yield each way in which a call can fail, with its status."""
    for status, one in sorted(call["responses"].items()):
        for kind in one.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {}):
            yield f"{status} <code>{_text(kind)}</code>"


def _write_parameter(one: Json) -> str:
    return f"<li>{one['in']} <code>{_text(one['name'])}</code> {_write_type(one['schema'])}{_write_told(one)}</li>"


def _write_bodies(title: str, body: Json) -> Iterator[str]:
    """Yield what a request or an answer holds, with an example that can be unfolded."""
    if not body:
        return
    kinds = body.get("content", {})
    schemas = {kind: {**one["schema"], "properties": {}} for kind, one in kinds.items()}
    told = [f"<code>{_text(kind)}</code> {_write_type(one)}" for kind, one in schemas.items()]
    yield f"<li><strong>{title}</strong> {_text(body.get('description', ''))} {', '.join(told)}"
    for kind, one in kinds.items():
        if "properties" in one["schema"]:
            yield _write_properties(one["schema"])
        for name, example in _examples(one):
            text = example if isinstance(example, str) else json.dumps(example, indent=1, ensure_ascii=False)
            yield f"<details><summary>{_mark_code(name or kind)}</summary>{_write_code(text)}</details>"
    yield "</li>"


def _examples(content: Json) -> Iterator[tuple[str, Any]]:
    if "example" in content:
        yield "", content["example"]
    for name, one in content.get("examples", {}).items():
        yield one.get("summary", name), one["value"]


def _write_schema(name: str, schema: Json) -> str:
    told = _text(schema.get("description", "")) or _write_type({**schema, "properties": {}})
    head = f'<section id="schema-{_text(name)}"><h3>{_text(name)}</h3>'
    return f"{head}<p>{told}</p>{_write_properties(schema)}</section>"


def _write_properties(schema: Json) -> str:
    rows = [
        f"<li><code>{_text(key)}</code> {_write_type(one)}{_write_told(one)}</li>"
        for key, one in schema.get("properties", {}).items()
    ]
    return f"<ul>{''.join(rows)}</ul>" if rows else ""


def _write_told(one: Json) -> str:
    return f": {_mark_code(one['description'])}" if "description" in one else ""


def _write_type(schema: Json) -> str:
    """Return what a value is, in a word or as a link to its schema."""
    if "$ref" in schema:
        name = _text(schema["$ref"].rsplit("/", 1)[1])
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_write_type(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        return " or ".join(f"<code>{_text(json.dumps(one))}</code>" for one in values)
    return _write_kind(schema)


def _write_kind(schema: Json) -> str:
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_write_type(schema.get('items', {}))}"
    if schema.get("properties"):
        parts = [f"<code>{_text(name)}</code> {_write_type(one)}" for name, one in schema["properties"].items()]
        return f"object ({', '.join(parts)})"
    return _text(" or ".join(kind) if isinstance(kind, list) else kind)


def _write_prose(text: str) -> Iterator[str]:
    """Yield paragraphs and numbered lists of the little Markdown that the description is written in."""
    for block in text.split("\n\n"):
        items = re.split(r"^\d+\. ", block, flags=re.MULTILINE)
        if len(items) > 1:
            yield f"<ol>{''.join(f'<li>{_mark_code(one)}</li>' for one in items[1:])}</ol>"
        else:
            yield f"<p>{_mark_code(block)}</p>"


def _mark_code(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(text))


def _write_code(text: str) -> str:
    # It scrolls sideways, so it must be in reach of the keyboard.
    return f'<pre tabindex="0">{_text(text)}</pre>'


def _text(text: str) -> str:
    return html.escape(text)
