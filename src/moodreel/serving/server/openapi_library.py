"""The API's description of a library's calls."""

from __future__ import annotations

from moodreel.labels import EMOTIONS
from moodreel.serving.server.openapi_parts import Json, body_of, like, list_of, or_null, ref, set_answers

_SHARES = dict.fromkeys(EMOTIONS, 0.02) | {"happy": 0.88}
_FILE: Json = {
    "id": "64e139faad6c0512",
    "name": "party.webm",
    "folder": "weddings",
    "duration_s": 8.0,
    "offset_s": 0.0,
    "has_picture": True,
    "media": "/v1/library/files/64e139faad6c0512",
}
_CURVE: Json = {"emotion": "happy", "times_s": [1.5, 2.5], "values": [0.84, 0.92]}
_MOMENT: Json = {
    "file": _FILE,
    "start_s": 1.0,
    "end_s": 3.0,
    "person": 0,
    "score": 0.88,
    "label": "happy",
    "probabilities": _SHARES,
    "curve": _CURVE,
    "thumbnail": "/v1/library/thumbnails/64e139faad6c0512/2",
}
_FOUND: Json = {"query": "happy > 0.6", "n_moments": 1, "is_all": True, "moments": [_MOMENT]}
_FOLDER: Json = {"value": "weddings", "n_files": 1, "hours": 0.0022}
_PEOPLE: Json = {**_FOLDER, "value": 1}
_WITH: Json = {**_FOLDER, "value": True}
_BUCKET: Json = {"date": "2024-05", "n_files": 1, "hours": 0.0022, "shares": _SHARES}
_LIBRARY: Json = {
    "n_files": 1,
    "n_failed": 0,
    "hours": 0.0022,
    "n_windows": 7,
    "folders": [_FOLDER],
    "people": [_PEOPLE],
    "face": _WITH,
    "voice": _WITH,
    "lengths": [{**_FOLDER, "value": 0}],
    "unit": "month",
    "strip": [_BUCKET],
}
_SEGMENT: Json = {
    "start_s": 0.0,
    "end_s": 1.5,
    "label": "happy",
    "probabilities": _SHARES,
    "face": _SHARES,
    "voice": None,
    "abstained": False,
    "sound": None,
    "people": 1,
}
_LANE: Json = {"id": 1, "segments": [_SEGMENT]}
_TIMELINE: Json = {
    **{name: _FILE[name] for name in ("id", "name", "duration_s")},
    "segments": [_SEGMENT],
    "people": [_LANE],
}
_CSV = "file,start_s,end_s,…\nweddings/party.webm,1.0,3.0,…\n"

_READING_FAILS = ("not-found", "bad-parameter", "queue-full", "library-unreadable", "search-too-slow")
_SEARCH_FAILS = ("bad-query", *_READING_FAILS)


def describe_library(paths: Json) -> None:
    """Describe a library's calls.

    Args:
        paths: of the document, as FastAPI made them; changed in place.
    """
    calls = {path.removeprefix("/v1/library"): methods["get"] for path, methods in paths.items() if "/library" in path}
    json = "application/json"
    found = body_of(json, ref("Moments"), _FOUND, "The moments.")
    set_answers(calls[""], _READING_FAILS, {"200": body_of(json, ref("Library"), _LIBRARY, "What it holds.")})
    set_answers(calls["/search"], _SEARCH_FAILS, {"200": found})
    text: Json = {"type": "string"}
    examples = {"text/csv": _CSV, "text/plain": "TITLE: moodreel\n", "text/vtt": "WEBVTT\n"}
    texts = {kind: {"schema": text, "example": example} for kind, example in examples.items()}
    told = {"description": "The moments.", "content": texts}
    set_answers(calls["/search.{format}"], _SEARCH_FAILS, {"200": told})
    timeline = body_of(json, ref("LibraryTimeline"), _TIMELINE, "The timeline.")
    set_answers(calls["/files/{id}/timeline"], _READING_FAILS, {"200": timeline})
    _describe_bytes(calls["/files/{id}"], "*/*", ("file-gone", "bad-range"))
    _describe_bytes(calls["/thumbnails/{id}/{second}"], "image/jpeg", ("no-picture",))
    file = calls["/files/{id}"]
    file["responses"]["206"] = {**file["responses"]["200"], "description": "The range."}
    file["parameters"] = [*file["parameters"], _RANGE, _TICKET]
    thumbnail = calls["/thumbnails/{id}/{second}"]
    thumbnail["parameters"] = [*thumbnail["parameters"], _TICKET]


def _describe_bytes(call: Json, kind: str, fails: tuple[str, ...]) -> None:
    content = {kind: {"schema": {"type": "string", "format": "binary"}}}
    good: Json = {"200": {"description": "The bytes.", "content": content}}
    good["304"] = {"description": "It is what `If-None-Match` names."}
    set_answers(call, (*_READING_FAILS, *fails), good)


_RANGE: Json = {
    "name": "Range",
    "in": "header",
    "description": "One range of bytes (RFC 9110, section 14).",
    "schema": {"type": "string"},
    "example": "bytes=0-1023",
}
_TICKET: Json = {
    "name": "ticket",
    "in": "query",
    "description": "In the addresses that a search gives out where a token is asked for: players send no headers.",
    "schema": {"type": "string"},
}


def library_schemas() -> Json:
    """Return the schemas of what these calls answer."""
    moments, moment, library, timeline = (like(one) for one in (_FOUND, _MOMENT, _LIBRARY, _TIMELINE))
    moments["properties"]["moments"] = list_of(ref("Moment"))
    moment["properties"] |= {"file": ref("LibraryFile"), "curve": ref("Curve"), "probabilities": _shares()}
    moment["properties"]["label"] = {"enum": list(EMOTIONS)}
    moment["properties"]["thumbnail"] = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    curve = like(_CURVE)
    curve["properties"] |= {"times_s": list_of({"type": "number"}), "values": list_of({"type": "number"})}
    bucket = like(_BUCKET)
    bucket["properties"]["shares"] = _shares()
    facets = {"folders": _FOLDER, "people": _PEOPLE, "lengths": _PEOPLE}
    library["properties"] |= {name: list_of(like(one)) for name, one in facets.items()}
    library["properties"] |= {name: like(_WITH) for name in ("face", "voice")}
    library["properties"] |= {"strip": list_of(ref("Bucket")), "unit": {"enum": ["day", "month", "year"]}}
    segment, lane = like(_SEGMENT), like(_LANE)
    segment["properties"] |= {name: or_null("Shares") for name in ("probabilities", "face", "voice")}
    segment["properties"] |= {name: {"anyOf": [{"type": "string"}, {"type": "null"}]} for name in ("label", "sound")}
    lane["properties"]["segments"] = list_of(ref("LibrarySegment"))
    timeline["properties"] |= {"segments": list_of(ref("LibrarySegment")), "people": list_of(ref("Lane"))}
    return {
        "Moments": moments,
        "Moment": moment,
        "LibraryFile": like(_FILE),
        "Curve": curve,
        "Library": library,
        "Bucket": bucket,
        "LibraryTimeline": timeline,
        "LibrarySegment": segment,
        "Lane": lane,
        "Shares": like(_SHARES),
    }


def _shares() -> Json:
    return ref("Shares")
