"""`/v1/library`: what a library holds, moments found in it, its files and thumbnails. No answer says where they lie."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from moodreel.labels import EMOTIONS
from moodreel.library.curves import Curve, choose_emotion, draw_curves, read_lanes
from moodreel.library.finding import Search
from moodreel.library.formats import FRAME_RATE_HZ, MOST_EVENTS, find_moment_format
from moodreel.library.found import Found, Moment
from moodreel.library.grammar import parse_query
from moodreel.library.moments import Joining
from moodreel.library.overview import look_over
from moodreel.library.shown import ServedFile, ShownLibrary
from moodreel.library.tree import And, Query as Tree, join_queries, write_query
from moodreel.serving.protocol.problems import ProblemError
from moodreel.serving.server.guard import Access
from moodreel.serving.server.library_service import LibraryService
from moodreel.serving.server.media_files import answer_media, open_media
from moodreel.serving.server.service import service_of
from moodreel.serving.server.thumbnails import Wanted

router = APIRouter(prefix="/v1/library")

MOST_MOMENTS = MOST_EVENTS
"""Moments that a search finds: as many as an edit list can hold."""
MOST_QUERIES = 4
MOST_ALIKE = 20
"""Moments that are found to be like another: everything is, more or less."""
_OF_ALL = "confidence >= 0"
_NO_LIBRARY = "this server was started without a library; start it with --library LIB"

FileId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="The file, as a search names it.")]
Queries = Annotated[
    list[str],
    Query(
        default_factory=list,
        max_length=MOST_QUERIES,
        description="What to look for, such as `happy > 0.6 and face`; where it is given several times, all must hold.",
    ),
]
Likeness = Annotated[
    str | None,
    Query(
        pattern=r"^[0-9a-f]{16},[0-9]{1,6}(\.[0-9]{1,3})?,[0-9]{1,6}(\.[0-9]{1,3})?$",
        description="A moment that others are to be like: its file's id, and where it begins and ends, in seconds.",
        examples=["64e139faad6c0512,1.5,3.5"],
    ),
]
Seconds = Annotated[float, Query(ge=0, le=86_400, allow_inf_nan=False)]


class MomentsFormat(StrEnum):
    """Formats of text in which moments can be had."""

    CSV = "csv"
    EDL = "edl"
    VTT = "vtt"


MOMENTS_TYPES = {MomentsFormat.CSV: "text/csv", MomentsFormat.EDL: "text/plain", MomentsFormat.VTT: "text/vtt"}


@dataclass(frozen=True)
class Wish:
    """What is looked for, with what a moment must be.

    Attributes:
        queries: in the language of queries; all must hold.
        min_s: how long a moment must be.
        gap_s: how far windows that match may lie apart.
        hysteresis: by how much a probability may fall short around a window that matches.
        like: a moment that they are like, as file, start and end; `None` for none.
    """

    queries: tuple[str, ...]
    min_s: float
    gap_s: float
    hysteresis: float
    like: tuple[str, float, float] | None

    def read(self) -> Tree:
        """Return all queries as one tree; each is read alone, so that carets stand where a client can see them."""
        return join_queries(And, [parse_query(query) for query in self.queries or (_OF_ALL,)])

    def find(self, library: ShownLibrary) -> tuple[Tree, Found]:
        """Find the best moments, one more than are told of where there are so many."""
        tree = self.read()
        if self.like is not None:
            file_id, *times_s = self.like
            wanted = Search(tree, Joining(self.min_s, self.gap_s), MOST_ALIKE)
            return tree, library.find_alike(file_id, (times_s[0], times_s[1]), wanted)
        return tree, library.find(Search(tree, Joining(self.min_s, self.gap_s, self.hysteresis), MOST_MOMENTS + 1))


def _read_wish(
    q: Queries,
    min_s: Seconds = 0.0,
    gap_s: Seconds = 0.0,
    hysteresis: Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)] = 0.0,
    like: Likeness = None,
) -> Wish:
    if not q and like is None:
        raise ProblemError("bad-parameter", "q: say what to look for, such as happy > 0.6, or name a moment with like")
    return Wish(tuple(q), min_s, gap_s, hysteresis, None if like is None else _read_likeness(like))


def _read_likeness(like: str) -> tuple[str, float, float]:
    file_id, start_s, end_s = like.split(",")
    if float(end_s) < float(start_s):
        raise ProblemError("bad-parameter", "like: the moment ends before it begins")
    return file_id, float(start_s), float(end_s)


@router.get("", summary="What the library holds")
async def read_library(request: Request) -> JSONResponse:
    """Return how much there is, in which folders, with whom, how long, and when."""
    searches = _library_of(request).searches
    overview = await searches.ask("overview", lambda library: library.read(look_over))
    return JSONResponse(overview.to_dict())


@router.get("/search", summary="Moments that fit a query, best first")
async def search_library(
    request: Request,
    wish: Annotated[Wish, Depends(_read_wish)],
    offset: Annotated[int, Query(ge=0, le=MOST_MOMENTS)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 24,
) -> JSONResponse:
    """Return moments, each with the curve of its emotion, and where its file and thumbnail are."""
    service, held = service_of(request), _library_of(request)
    tree, found = await held.searches.ask(wish, wish.find)
    moments = found[:MOST_MOMENTS][offset : offset + limit]
    files = await held.searches.find_files(list({moment.file_id for moment in moments}))
    moments = [moment for moment in moments if moment.file_id in files]
    curves = await held.searches.ask((wish, offset, limit), lambda library: _draw(library, tree, moments))
    return JSONResponse(
        {
            "query": write_query(tree),
            "n_moments": min(len(found), MOST_MOMENTS),
            "is_all": len(found) <= MOST_MOMENTS,
            "moments": [
                _describe(moment, files[moment.file_id], curve, service.access)
                for moment, curve in zip(moments, curves, strict=True)
            ],
        }
    )


def _draw(library: ShownLibrary, tree: Tree, moments: Sequence[Moment]) -> list[Curve]:
    emotions = [choose_emotion(tree, moment) for moment in moments]
    return library.read(lambda connection: draw_curves(connection, moments, emotions))


def _describe(moment: Moment, file: ServedFile, curve: Curve, access: Access) -> dict[str, Any]:
    return {
        "file": _describe_file(file, moment.file, access),
        "start_s": round(moment.start_s, 3),
        "end_s": round(moment.end_s, 3),
        "person": moment.person,
        "score": round(moment.score, 4),
        "label": moment.label,
        "probabilities": {one: round(value, 4) for one, value in zip(EMOTIONS, moment.probabilities, strict=True)},
        "curve": {"emotion": curve.emotion, "times_s": curve.times_s, "values": curve.values},
        "thumbnail": _sign_thumbnail(file, (moment.start_s + moment.end_s) / 2, access),
    }


def _describe_file(file: ServedFile, shown: str, access: Access) -> dict[str, Any]:
    return {
        "id": file.id,
        "name": file.name,
        "folder": shown.rpartition("/")[0],
        "duration_s": round(file.duration_s, 3),
        "offset_s": file.offset_s,
        "has_picture": file.has_picture,
        "media": access.sign(f"{router.prefix}/files/{file.id}"),
    }


def _sign_thumbnail(file: ServedFile, at_s: float, access: Access) -> str | None:
    second = min(int(at_s), _last_second(file))
    return access.sign(f"{router.prefix}/thumbnails/{file.id}/{second}") if file.has_picture else None


def _last_second(file: ServedFile) -> int:
    return max(0, math.ceil(file.duration_s) - 1)


@router.get("/search.{format}", summary="The same moments as CSV, as an edit list (EDL) or as subtitles (WebVTT)")
async def download_moments(
    request: Request,
    format: MomentsFormat,
    wish: Annotated[Wish, Depends(_read_wish)],
    file: Annotated[
        str | None, Query(pattern="^[0-9a-f]{16}$", description="Of this file alone; WebVTT needs one.")
    ] = None,
) -> Response:
    """Return all moments as text; files go by their names relative to what was indexed."""
    if format == MomentsFormat.VTT and file is None:
        raise ProblemError("bad-parameter", "file: subtitles belong to one file; name it")
    found = (await _library_of(request).searches.ask(wish, wish.find))[1]
    moments = [one for one in found[:MOST_MOMENTS] if file in (None, one.file_id)]
    text = find_moment_format(format.value).write(moments, FRAME_RATE_HZ)
    headers = {"Content-Disposition": f'attachment; filename="moments.{format.value}"'}
    return Response(text.encode("utf-8", "backslashreplace"), headers=headers, media_type=MOMENTS_TYPES[format])


@router.get("/files/{id}", summary="A file of the library, or the part of it that a header Range asks for")
async def read_file(request: Request, id: FileId) -> Response:
    """Return the file's bytes, as long as it is as it was indexed."""
    file = await _library_of(request).searches.find_file(id)
    opened = await asyncio.to_thread(open_media, file)
    return answer_media(file, opened, request.headers)


@router.get("/files/{id}/timeline", summary="What was seen and heard in a file over time")
async def read_file_timeline(request: Request, id: FileId) -> JSONResponse:
    """Return the file's segments, and those of each person's face."""
    held = _library_of(request)
    file = await held.searches.find_file(id)
    lanes = await held.searches.ask(
        ("timeline", id), lambda library: library.read(lambda connection: read_lanes(connection, id))
    )
    people = [{"id": person, "segments": segments} for person, segments in lanes.items() if person]
    told = {"id": id, "name": file.name, "duration_s": file.duration_s, "segments": lanes[0], "people": people}
    return JSONResponse(told)


@router.get("/thumbnails/{id}/{second}", summary="A small picture of a file at a second of it", response_class=Response)
async def read_thumbnail(request: Request, id: FileId, second: Annotated[int, Path(ge=0, le=10**9)]) -> Response:
    """Return a JPEG; it is drawn once, and kept in the library."""
    held = _library_of(request)
    file = await held.searches.find_file(id)
    if not file.has_picture or second > _last_second(file):
        raise ProblemError("no-picture", f"{file.name}: there is no picture at that second")
    tag = f'"{id}-{second}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(await held.thumbnails.give(Wanted(file, second)), headers=headers, media_type="image/jpeg")


def _library_of(request: Request) -> LibraryService:
    held = service_of(request).library
    if held is None:
        raise ProblemError("not-found", _NO_LIBRARY)
    return held
