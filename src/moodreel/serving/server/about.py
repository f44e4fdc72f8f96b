"""What the server says of itself: its model, its health, its counters."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from moodreel import __version__
from moodreel.labels import EMOTIONS
from moodreel.serving.server import metrics as metrics_format
from moodreel.serving.server.service import service_of

router = APIRouter()


@router.get("/v1/models", summary="The model that answers, its licence and what it learned from")
async def list_models(request: Request) -> dict[str, Any]:
    """Return the bundle that is served."""
    bundle = service_of(request).bundle
    model = {
        "name": bundle.name,
        "version": bundle.version,
        "kind": bundle.kind,
        "licence": bundle.licence,
        "labels": list(EMOTIONS),
        "training_data": bundle.manifest.get("training_data", []),
        "is_live": True,
    }
    return {"models": [model]}


@router.get("/healthz", summary="Whether the server can answer")
async def check_health(request: Request) -> dict[str, Any]:
    """Return how many clips are on their way; that it answers at all means that a worker has started."""
    service = service_of(request)
    return {
        "status": "ok",
        "version": __version__,
        "places_taken": service.book.taken,
        "streams": service.n_streams,
        "has_library": service.library is not None,
    }


@router.get("/metrics", summary="Counters for Prometheus", response_class=Response)
async def read_metrics(request: Request) -> Response:
    """Return all counters as text."""
    service = service_of(request)
    service.metrics.places.set(service.book.taken)
    service.metrics.streams.set(service.n_streams)
    return Response(service.metrics.format(), media_type=metrics_format.MEDIA_TYPE)
