"""`/v1/batches`: several clips in one form; a job for each, and one status of all."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from moodreel.serving.server.jobs import Job, describe_batch, make_id
from moodreel.serving.server.service import Service, service_of
from moodreel.serving.server.uploads import Terms, Upload, receive_form

router = APIRouter(prefix="/v1/batches")


@router.post("", status_code=202, summary="Tell the emotions of several clips")
async def create_batch(request: Request) -> Response:
    """Receive clips and answer with a job for each. One that cannot be taken is a job that has failed."""
    service = service_of(request)
    uploads, webhook = await _receive(request, service)
    id = make_id()
    jobs = [_add(service, upload, id, webhook) for upload in uploads]
    for job in jobs:
        if job.now.is_finished:  # only now, when the batch is whole
            service.book.settle(job)
    return JSONResponse(describe_batch(jobs), 202, {"Location": f"{router.prefix}/{id}", "Retry-After": "1"})


@router.get("/{id}", summary="How the jobs of a batch stand")
async def read_batch(request: Request, id: str) -> Response:
    """Return a batch: its jobs without their predictions, which each of them holds."""
    return JSONResponse(describe_batch(service_of(request).book.find_batch(id)))


@router.delete("/{id}", status_code=204, summary="Stop a batch and forget its answers")
async def delete_batch(request: Request, id: str) -> Response:
    """Stop all jobs of a batch, and delete what is known of them."""
    service = service_of(request)
    service.pool.cancel(service.book.find_batch(id))
    return Response(status_code=204)


async def _receive(request: Request, service: Service) -> tuple[list[Upload], str]:
    """Receive clips, each of which has taken a place; if the form fails, all are given back."""
    service.book.take_place()
    n_places = 1

    def take_place() -> None:
        nonlocal n_places
        service.book.take_place()
        n_places += 1

    terms = Terms(service.limits.batch_files, service.webhooks.check, take_place)
    try:
        return await receive_form(request, service.folder, service.limits, terms)
    except BaseException:
        for _ in range(n_places):
            service.book.leave_place()
        raise


def _add(service: Service, upload: Upload, batch: str, webhook: str) -> Job:
    job = Job(upload.name, upload.path, batch=batch, webhook=webhook)
    if upload.problem is None:
        service.take(job)
    else:
        if upload.has_place:
            service.book.leave_place()
        job.fail(upload.problem)
        service.book.add(job)
    service.book.keep(job)
    return job
