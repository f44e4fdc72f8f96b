"""`/v1/predictions`: a clip in; its prediction at once, or a job to ask for, follow and delete."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from moodreel.serving.protocol.problems import ProblemError
from moodreel.serving.protocol.replies import TextFormat
from moodreel.serving.server.book import JobBook
from moodreel.serving.server.jobs import Job, JobState
from moodreel.serving.server.service import Service, service_of
from moodreel.serving.server.uploads import Terms, receive_form

router = APIRouter(prefix="/v1/predictions")

_HEARTBEAT_S = 10.0
_NOTICED_S = 0.5


TEXT_TYPES = {TextFormat.CSV: "text/csv", TextFormat.VTT: "text/vtt"}


@router.post("", summary="Tell the emotion of a clip")
async def create_prediction(request: Request, prefer: Annotated[str | None, Header()] = None) -> Response:
    """Receive a clip; answer with its prediction, or with a job where that takes longer."""
    service = service_of(request)
    book = service.book
    book.take_place()
    try:
        terms = Terms(1, service.webhooks.check, book.take_place)
        (upload,), webhook = await receive_form(request, service.folder, service.limits, terms)
    except BaseException:
        book.leave_place()
        raise
    job = Job(upload.name, upload.path, webhook=webhook)
    service.take(job)
    if "respond-async" in (prefer or ""):
        return _accept(book, job, {"Preference-Applied": "respond-async"})
    if not await _wait(request, service, job):
        return _accept(book, job, {})
    job.is_answered = True
    book.keep(job)
    headers = {"Content-Location": f"{router.prefix}/{job.id}", "Vary": "Accept"}
    wanted = choose_format(request.headers.get("accept", ""))
    return _text_of(job, wanted, headers) if wanted else JSONResponse(_answer_of(job.now), headers=headers)


@router.get("/{id}", summary="How a job stands; its prediction once it is done")
async def read_job(request: Request, id: str) -> Response:
    """Return a job, or its timeline as text where that is asked for."""
    job, headers = service_of(request).book.find(id), {"Vary": "Accept"}
    wanted = choose_format(request.headers.get("accept", ""))
    return _text_of(job, wanted, headers) if wanted else JSONResponse(job.to_dict(), headers=headers)


@router.delete("/{id}", status_code=204, summary="Stop a job and forget its answer")
async def delete_job(request: Request, id: str) -> Response:
    """Stop a job, whatever it is doing, and delete what is known of it."""
    service = service_of(request)
    service.pool.cancel([service.book.find(id)])
    return Response(status_code=204)


@router.get("/{id}/events", summary="A job's progress as server-sent events")
async def follow_job(request: Request, id: str) -> Response:
    """Return the events `progress`, then `done` or `failed`; each holds the job without its prediction."""
    job = service_of(request).book.find(id)
    return StreamingResponse(_events(job), media_type="text/event-stream")


@router.get("/{id}/timeline.{format}", summary="A finished job's timeline as CSV or WebVTT")
async def read_timeline(request: Request, id: str, format: TextFormat) -> Response:
    """Return the timeline as text."""
    return _text_of(service_of(request).book.find(id), format, {})


def choose_format(accept: str) -> TextFormat | None:
    """Choose what a client likes best (RFC 9110, section 12.5.1).

    Args:
        accept: the header `Accept`; empty where there is none.

    Returns:
        A format of text; `None` for JSON, which also answers who accepts nothing that there is.
    """
    likings = dict(_read_liking(part) for part in accept.split(","))
    of_json = max((likings.get(kind, 0.0) for kind in ("application/json", "application/*", "*/*")), default=0.0)
    named = {format: likings.get(kind, likings.get("text/*", 0.0)) for format, kind in TEXT_TYPES.items()}
    best = max(named, key=lambda format: named[format])
    return best if named[best] > of_json else None


def _read_liking(part: str) -> tuple[str, float]:
    kind, *options = (piece.strip().lower() for piece in part.split(";"))
    weights = [option.removeprefix("q=") for option in options if option.startswith("q=")]
    try:
        return kind, float(weights[0]) if weights else 1.0
    except ValueError:
        return kind, 0.0


def _text_of(job: Job, format: TextFormat, headers: dict[str, str]) -> Response:
    _answer_of(job.now)
    assert job.now.texts is not None
    return Response(job.now.texts[format.value], headers=headers, media_type=TEXT_TYPES[format])


def _answer_of(state: JobState) -> dict[str, Any]:
    if state.problem is not None:
        raise ProblemError(state.problem.kind, state.problem.detail, state.problem.headers)
    if state.prediction is None:
        raise ProblemError("not-ready", "the clip is still being read; follow the job's events")
    return state.prediction


def _accept(book: JobBook, job: Job, headers: dict[str, str]) -> Response:
    book.keep(job)
    place = f"{router.prefix}/{job.id}"
    return JSONResponse(job.to_dict(), 202, {"Location": place, "Retry-After": "1", **headers})


async def _wait(request: Request, service: Service, job: Job) -> bool:
    """Wait for a job as long as is promised; a client that has gone takes its job with it.

    Returns:
        Whether the job is finished.
    """
    finish = asyncio.ensure_future(job.finish())
    try:
        async with asyncio.timeout(service.limits.answer_within_s):
            while not (await asyncio.wait([finish], timeout=_NOTICED_S))[0]:
                if await request.is_disconnected():
                    service.pool.cancel([job])
        return True
    except TimeoutError:
        return job.now.is_finished
    finally:
        finish.cancel()


async def _events(job: Job) -> AsyncIterator[bytes]:
    state: JobState | None = None
    while state is None or not state.is_finished:
        try:
            state = await asyncio.wait_for(job.next_state(state), _HEARTBEAT_S)
        except TimeoutError:
            yield b": still here\n\n"  # so that no proxy takes the line for dead
            continue
        name = state.state if state.is_finished else "progress"
        data = json.dumps(job.to_dict(is_whole=False))
        yield f"event: {name}\ndata: {data}\n\n".encode()
