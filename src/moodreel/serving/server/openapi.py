"""The API's description (OpenAPI 3.1), with the prediction's own schema, examples and every way a call can fail."""

from __future__ import annotations

import json
from importlib import resources

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from moodreel.labels import EMOTIONS
from moodreel.serving.protocol.problems import KINDS
from moodreel.serving.server.openapi_library import describe_library, library_schemas
from moodreel.serving.server.openapi_parts import (
    Json,
    body_of,
    like,
    list_of,
    or_null,
    problem_of,
    ref,
    set_answers,
    simplify,
)
from moodreel.serving.server.stream import RATES_HZ, SOUND_FORMATS, SoundFormat

_SUMMARY = "What the people in a clip feel, from face and voice, over time."
_JSON = "application/json"
_STREAM = """
Besides the calls there is a web socket, `WS /v1/stream`, for live sound and pictures; OpenAPI knows no sockets.

1. The client sends `StreamStart` as text.
2. The server sends `StreamReady`.
3. The client sends binary messages, a byte for the kind and then the data: 0 is sound (mono PCM of 16 bits,
   little-endian, or one Opus packet), 1 a picture (one JPEG, about five per second).
4. The server sends a `StreamWindow` every half second in which something came.
5. The answers are adapted to whoever is there. When somebody else comes, the client sends `StreamReset` as text.
6. Any other text from the client ends the stream. If it fails, the server sends `StreamProblem` and closes.

The messages of text are JSON; the components hold their schemas. Where a token is asked for, it comes in the header
`Authorization` or as `token` in `StreamStart`, since browsers cannot send headers with a web socket.
"""

_HAPPY = dict(zip(EMOTIONS, (0.0, 0.01, 0.0, 0.94, 0.05, 0.0, 0.0), strict=True))
_WINDOW: Json = {
    "start_s": 0.0,
    "end_s": 4.0,
    "label": "happy",
    "probabilities": _HAPPY,
    "face": _HAPPY,
    "voice": None,
    "abstained": False,
}
_OWN_WINDOW: Json = {**_WINDOW, "speaking": None, "fused": None}
_STRETCH: Json = {"start_s": 0.0, "end_s": 4.0, "label": "happy", "probability": 0.94, "abstained": False}
_PREDICTION: Json = {
    "schema_version": 3,
    "scope": "person",
    "clip": "demo.mp4",
    "duration_s": 4.0,
    "model": "default 2026.11.23",
    "label": "happy",
    "probabilities": _HAPPY,
    "abstained": False,
    "leaning": False,
    "abstain_below": 0.33,
    "shares": {emotion: float(emotion == "happy") for emotion in EMOTIONS},
    "person": 1,
    "modalities": {
        "face": {"state": "ok", "probabilities": _HAPPY, "weight": 1.0},
        "voice": {"state": "no_audio_track", "probabilities": None, "weight": 0.0},
    },
    "people": [
        {
            "id": 1,
            "share_on_screen": 1.0,
            "label": "happy",
            "probabilities": _HAPPY,
            "speaking_s": None,
            "voice": None,
            "fused": None,
            "windows": [_OWN_WINDOW],
            "boxes": [{"time_s": 0.0, "box_px": [262.1, 93.5, 371.0, 244.8]}],
            "abstained": False,
            "segments": [_OWN_WINDOW],
            "stretches": [_STRETCH],
        }
    ],
    "segments": [
        {
            **_WINDOW,
            "person": 1,
            "states": {"face": "ok", "voice": "no_audio_track"},
            "weights": {"face": 1.0, "voice": 0.0},
            "abstained": False,
            "voice_of": None,
            "overlap": 0.0,
        }
    ],
    "stretches": {"answer": [_STRETCH], "face": [_STRETCH], "voice": []},
    "timeline": [_WINDOW],
    "warnings": [],
    "turns": [],
    "speakers": "not_told",
    "why": "most-present",
}
_JOB: Json = {
    "id": "hYw3l0yY0bSmIc8kq2v8Ug",
    "clip": "demo.mp4",
    "state": "running",
    "progress": 0.4,
    "prediction": None,
    "problem": None,
}
_BATCH: Json = {"id": "Qk1v8mJ0xYkPZ9b0c3r4Tw", "state": "running", "progress": 0.7, "jobs": [_JOB]}
_MODEL: Json = {
    "name": "default",
    "version": "2026.11.23",
    "kind": "late",
    "licence": "CC BY-NC-SA 4.0",
    "labels": list(EMOTIONS),
    "training_data": [{"network": "face", "name": "FER2013 with FER+ votes", "licence": "MIT"}],
    "is_live": True,
}
_HEALTH: Json = {"status": "ok", "version": "0.1.0", "places_taken": 0, "streams": 0, "has_library": False}
_START: Json = {"type": "start", "sound": {"format": "pcm16", "rate_hz": 16000}}
_READY: Json = {"type": "ready", "model": "default 2026.11.23", "every_s": 0.5, "window_s": 2.0}
_RESET: Json = {"type": "reset"}
_LIVE: Json = {
    "type": "window",
    "start_s": 1.5,
    "end_s": 3.5,
    **{key: _PREDICTION[key] for key in ("label", "probabilities", "abstained", "modalities")},
    "adaptation": {"to": "stream", "face_stretches": 3, "voice_stretches": 0, "moved": 0.04},
    "box_px": [262.1, 93.5, 371.0, 244.8],
    "damaged": 0,
    "latency_ms": 85,
    "received": {"pictures": 17, "sound_bytes": 112000, "dropped": 0},
}
_EVENTS = f"event: progress\ndata: {json.dumps(_JOB)}\n\nevent: done\ndata: {{}}\n\n"
_CSV = "clip,person,start_s,end_s,label,angry,…\n"
_VTT = "WEBVTT\n\n00:00:00.000 --> 00:00:04.000\nhappy 94%\n"

_UPLOAD_FAILS = (
    "bad-upload", "upload-too-slow", "upload-too-large", "not-multipart", "bad-webhook", "bad-media", "clip-too-long",
    "picture-too-large", "queue-full", "worker-died", "stopping", "took-too-long",
)  # fmt: skip
_FORM_FAILS = ("bad-upload", "upload-too-slow", "upload-too-large", "not-multipart", "bad-webhook", "queue-full")
_JOB_FAILS = ("not-found", "bad-parameter")
_ANSWER_FAILS = ("not-ready", *(kind for kind in _UPLOAD_FAILS if KINDS[kind][0] in (422, 500, 503, 504)))


def describe(app: FastAPI, *, needs_token: bool) -> None:
    """Let an application describe itself at `/openapi.json`.

    Args:
        app: the application with all its routes.
        needs_token: whether a bearer token is asked for.
    """

    def openapi() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(get_openapi(title=app.title, version=app.version, routes=app.routes))
            if needs_token:
                app.openapi_schema["security"] = [{"token": []}]
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: Json) -> Json:
    paths = document["paths"]
    prediction, job = ref("Prediction"), ref("Job")
    clips, one = paths["/v1/predictions"], paths["/v1/predictions/{id}"]
    clips["post"]["requestBody"] = _upload_body()
    clips["post"]["parameters"] = [_PREFER]
    at_once = {**body_of(_JSON, prediction, _PREDICTION, "The prediction."), "headers": {"Content-Location": _PLACE}}
    set_answers(clips["post"], _UPLOAD_FAILS, {"200": at_once})
    at_once["content"] |= _texts()
    clips["post"]["responses"]["202"] = {
        **body_of(_JSON, job, _JOB, "The clip takes longer: a job to ask for."),
        "headers": {"Location": _PLACE},
    }
    set_answers(one["get"], (*_JOB_FAILS, *_ANSWER_FAILS), {"200": body_of(_JSON, job, _JOB, "The job.")})
    one["get"]["responses"]["200"]["content"] |= _texts()
    set_answers(one["delete"], _JOB_FAILS, {"204": {"description": "It is gone."}})
    batches, batch = paths["/v1/batches"], paths["/v1/batches/{id}"]
    batches["post"]["requestBody"] = _upload_body(most_files=2)
    taken = body_of(_JSON, ref("Batch"), _BATCH, "A job for each clip.") | {"headers": {"Location": _PLACE}}
    set_answers(batches["post"], _FORM_FAILS, {"202": taken})
    set_answers(batch["get"], _JOB_FAILS, {"200": body_of(_JSON, ref("Batch"), _BATCH, "The batch.")})
    set_answers(batch["delete"], _JOB_FAILS, {"204": {"description": "It is gone."}})
    events, timeline = paths["/v1/predictions/{id}/events"]["get"], paths["/v1/predictions/{id}/timeline.{format}"]
    text: Json = {"type": "string"}
    set_answers(events, _JOB_FAILS, {"200": body_of("text/event-stream", text, _EVENTS, "One event a change.")})
    told = {"description": "The timeline.", "content": _texts()}
    set_answers(timeline["get"], (*_JOB_FAILS, *_ANSWER_FAILS), {"200": told})
    models = body_of(_JSON, ref("Models"), {"models": [_MODEL]}, "The model.")
    set_answers(paths["/v1/models"]["get"], (), {"200": models})
    set_answers(paths["/healthz"]["get"], (), {"200": body_of(_JSON, ref("Health"), _HEALTH, "It can answer.")})
    counters = "moodreel_streams 0.0\n"
    set_answers(paths["/metrics"]["get"], (), {"200": body_of("text/plain", text, counters, "The counters.")})
    describe_library(paths)
    document["info"] |= {"summary": _SUMMARY, "description": _STREAM.strip()}
    formats = {name: document["components"]["schemas"][name] for name in ("TextFormat", "MomentsFormat")}
    document["components"] = {
        "schemas": {**_schemas(), **formats},
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
    }
    return document


def _texts() -> Json:
    """Return what an answer is besides JSON, where `Accept` asks for it."""
    text = {"type": "string"}
    return {"text/csv": {"schema": text, "example": _CSV}, "text/vtt": {"schema": text, "example": _VTT}}


_PLACE: Json = {"description": "The job, which can be asked for and deleted.", "schema": {"type": "string"}}
_PREFER: Json = {
    "name": "Prefer",
    "in": "header",
    "description": "`respond-async` asks for a job at once (RFC 7240).",
    "schema": {"type": "string"},
    "example": "respond-async",
}


def _upload_body(most_files: int = 1) -> Json:
    clip: Json = {"type": "string", "format": "binary", "description": "A video, sound file or picture."}
    if most_files > 1:
        clip = {**list_of(clip), "minItems": 1, "description": "Videos, sound files or pictures."}
    told = "Where to tell that all is done; the server must have been started with --webhook-allow."
    webhook = {"type": "string", "format": "uri", "description": told}
    schema = {"type": "object", "required": ["file"], "properties": {"file": clip, "webhook": webhook}}
    bytes_of = ["the bytes of clip.mp4", "the bytes of film.mp4"][:most_files]
    sent = " ".join(f"-F file=@{one.split()[-1]}" for one in bytes_of)
    value = {"file": bytes_of if most_files > 1 else bytes_of[0]}
    example = {"summary": f"As `curl {sent}` sends it", "value": value}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema, "examples": {"clip": example}}}}


def _schemas() -> Json:
    """Return all schemas; the prediction's own parts become components beside it."""
    text = (resources.files("moodreel") / "prediction.schema.json").read_text(encoding="utf-8")
    prediction: Json = simplify(json.loads(text.replace("#/$defs/", "#/components/schemas/")))
    parts = prediction.pop("$defs")
    for key in ("$schema", "$id"):
        del prediction[key]
    job = like(_JOB)
    job["properties"]["state"] = {"enum": ["queued", "running", "done", "failed"]}
    job["properties"]["progress"] = {"type": "number", "minimum": 0, "maximum": 1}
    job["properties"]["prediction"] = or_null("Prediction")
    job["properties"]["problem"] = or_null("Problem")
    types = [f"urn:moodreel:problem:{kind}" for kind in KINDS]
    problem = like(problem_of("internal"))
    problem["properties"]["type"] = {"enum": types}
    pointer = "Of a query that cannot be understood: the query, and below it carets under the mistake."
    problem["properties"]["pointer"] = {"type": "string", "description": pointer}
    model = like(_MODEL)
    model["properties"]["training_data"] = list_of({"type": "object", "additionalProperties": True})
    model["properties"]["labels"] = list_of({"enum": list(EMOTIONS)})
    models = {"type": "object", "required": ["models"], "properties": {"models": list_of(ref("Model"))}}
    batch = like(_BATCH)
    batch["properties"] |= {key: job["properties"][key] for key in ("state", "progress")} | {
        "jobs": list_of(ref("Job"))
    }
    batch["properties"]["state"] = {"enum": ["queued", "running", "done"]}
    more = {"Job": job, "Batch": batch, "Problem": problem, "Model": model, "Models": models, "Health": like(_HEALTH)}
    named = {"Prediction": prediction, **parts, **more, **_stream_schemas(prediction["properties"])} | library_schemas()
    return {name: simplify(schema) for name, schema in named.items()}


def _stream_schemas(of_prediction: Json) -> Json:
    """Return the schemas of a live stream's messages of text."""
    start, reset, ready, window = (_message(example) for example in (_START, _RESET, _READY, _LIVE))
    rate_hz = {"type": "integer", "minimum": RATES_HZ[0], "maximum": RATES_HZ[-1], "default": SoundFormat.rate_hz}
    sound_format = {"enum": list(SOUND_FORMATS), "default": SoundFormat.format}
    start["properties"]["sound"] = {"type": "object", "properties": {"format": sound_format, "rate_hz": rate_hz}}
    start["properties"]["token"] = {"type": "string"}
    start["required"] = ["type"]
    taken = ("label", "probabilities", "abstained", "modalities", "adaptation")
    window["properties"] |= {key: of_prediction[key] for key in taken}
    window["properties"]["box_px"] = {
        "description": "left, top, right, bottom of the nearest face in the pixels of the picture sent",
        "anyOf": [{"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}, {"type": "null"}],
    }
    window["properties"]["damaged"]["description"] = "messages since the window before that could not be decoded"
    window["properties"]["latency_ms"]["description"] = "from the arrival of the window's last media to its answer"
    window["properties"]["received"] = {"description": "since the start", **like(_LIVE["received"])}
    problem = _message({"type": "problem", "problem": problem_of("bad-stream")})
    problem["properties"]["problem"] = ref("Problem")
    messages = {"Start": start, "Reset": reset, "Ready": ready, "Window": window, "Problem": problem}
    return {f"Stream{name}": schema for name, schema in messages.items()}


def _message(example: Json) -> Json:
    """Return the schema of a message, which its `type` tells from others."""
    schema = like(example)
    schema["properties"]["type"] = {"const": example["type"]}
    return {**schema, "examples": [example]}
