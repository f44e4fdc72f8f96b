"""The pieces that the API's description is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moodreel.serving.protocol.problems import KINDS, MEDIA_TYPE

Json = dict[str, Any]

_ALWAYS = ("wrong-host", "foreign-origin", "unauthorized", "internal")


def set_answers(operation: Json, fails: Sequence[str], good: Mapping[str, Json]) -> None:
    """Set what an operation answers: what it is for, and the ways it fails, one entry a status."""
    responses: dict[str, Json] = dict(good)
    for kind in (*fails, *_ALWAYS):
        status, title = KINDS[kind]
        entry = responses.setdefault(
            str(status),
            {"description": title, "content": {MEDIA_TYPE: {"schema": ref("Problem"), "examples": {}}}},
        )
        entry["content"][MEDIA_TYPE]["examples"][kind] = {"value": problem_of(kind)}
    if "429" in responses:
        responses["429"]["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    operation["responses"] = responses


def problem_of(kind: str) -> Json:
    """Return an example of a problem."""
    status, title = KINDS[kind]
    return {"type": f"urn:moodreel:problem:{kind}", "title": title, "status": status, "detail": "what, where, way out"}


def body_of(kind: str, schema: Json, example: object, description: str) -> Json:
    """Return what an answer holds: its media type, schema and an example."""
    return {"description": description, "content": {kind: {"schema": schema, "example": example}}}


def like(example: Json) -> Json:
    """Return the schema of an object whose keys are all required, with the types of an example."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string"}
    properties: Json = {key: {"type": names[type(value)]} for key, value in example.items() if type(value) in names}
    return {"type": "object", "required": list(example), "properties": properties}


def list_of(items: Json) -> Json:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def ref(name: str) -> Json:
    """Return a link to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def or_null(name: str) -> Json:
    """Return the schema of what may be missing."""
    return {"anyOf": [ref(name), {"type": "null"}]}


def simplify(schema: Any) -> Any:
    """Say the same in words that makers of clients know.

    They know no tuples (`prefixItems` with `"items": false`), and want to be told that names are strings.
    """
    if isinstance(schema, list):
        return [simplify(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    simple = {key: simplify(part) for key, part in schema.items()}
    places = simple.pop("prefixItems", None)
    if places is not None:
        simple |= {"items": places[0], "minItems": len(places), "maxItems": len(places)}
    words = simple.get("enum")
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        simple = {"type": "string", **simple}
    return simple
