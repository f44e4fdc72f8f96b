"""The application: its parts put together, what happens at its start and end, how failures are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from moodreel import __version__
from moodreel.bundle import Bundle, load_bundle
from moodreel.errors import MoodreelError
from moodreel.serving.protocol.failures import log_failure
from moodreel.serving.protocol.limits import Limits
from moodreel.serving.protocol.options import WorkerOptions
from moodreel.serving.protocol.problems import MEDIA_TYPE, Problem, ProblemError
from moodreel.serving.server import about, batches, docs_page, library, predictions, stream
from moodreel.serving.server.access_log import AccessLog, open_lines
from moodreel.serving.server.book import JobBook
from moodreel.serving.server.early_answers import Linger
from moodreel.serving.server.guard import METHODS, Access, Guard
from moodreel.serving.server.head import Head
from moodreel.serving.server.library_service import open_library
from moodreel.serving.server.metrics import Metrics
from moodreel.serving.server.openapi import describe
from moodreel.serving.server.pool import WorkerPool
from moodreel.serving.server.service import Service
from moodreel.serving.server.state import open_state
from moodreel.serving.server.webhooks import WebhookRules, Webhooks

_TIDY_S = 30.0
_KINDS_BY_STATUS = {404: "not-found", 405: "method-not-allowed"}


@dataclass(frozen=True)
class Settings:
    """What a server is started with.

    Attributes:
        model: name or folder of the bundle it serves.
        access: who may use it.
        limits: how much it takes on.
        state: folder in which its jobs outlive it; `None` where they need not.
        webhooks: whom it may call.
        access_log: file to which each request adds a line; `None` for none.
        library: folder or URL of the library that it serves; `None` for none.
    """

    model: str = "default"
    access: Access = field(default_factory=lambda: Access("127.0.0.1"))
    limits: Limits = field(default_factory=Limits)
    state: Path | None = None
    webhooks: WebhookRules = field(default_factory=WebhookRules)
    access_log: Path | None = None
    library: str | None = None


def create_app(settings: Settings) -> FastAPI:
    """Put a server together.

    Args:
        settings: what it is started with.

    Raises:
        BundleError: its bundle is missing or damaged.
        MoodreelError: its access log cannot be written.
    """
    bundle, metrics = load_bundle(settings.model), Metrics()

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with _serving(app, settings, bundle, metrics):
                yield
        except MoodreelError as error:
            app.state.failure = error
            raise

    app = FastAPI(
        title="moodreel",
        version=__version__,
        lifespan=live,
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,  # what clients made of the description call their methods
    )
    for router in (about.router, predictions.router, batches.router, library.router, stream.router, docs_page.router):
        app.include_router(router)
    app.router.default = _Page(directory=str(resources.files("moodreel") / "static"), html=True)
    describe(app, needs_token=settings.access.token is not None)
    _tell_failures(app)
    app.add_middleware(Head)
    app.add_middleware(Guard, access=settings.access, metrics=metrics)
    if settings.access_log is not None:
        app.add_middleware(AccessLog, lines=open_lines(settings.access_log))
    app.add_middleware(Linger)  # outermost, so that it sees the guard's refusals too
    return app


@asynccontextmanager
async def _serving(app: FastAPI, settings: Settings, bundle: Bundle, metrics: Metrics) -> AsyncIterator[None]:
    """Start what answers, and stop it at the end."""
    limits, webhooks = settings.limits, Webhooks(settings.webhooks, metrics)
    options = WorkerOptions("clips", settings.model, limits.memory_bytes, limits.clip_s, limits.picture_px)
    async with AsyncExitStack() as parts:
        state = parts.enter_context(open_state(settings.state))
        held = await parts.enter_async_context(open_library(settings.library, options, limits))
        book = JobBook(limits, webhooks, state.store)
        pool = WorkerPool(options, limits, book, metrics)
        app.state.service = Service(
            bundle, settings.access, limits, metrics, book, pool, webhooks, state.folder, options, held
        )
        tidying = asyncio.create_task(_tidy(book))
        try:
            await pool.start()
            for job in book.resume(state.jobs):
                pool.add(job)
            yield
        finally:
            tidying.cancel()
            await pool.stop()
            await webhooks.stop()


async def _tidy(book: JobBook) -> None:
    """Forget in time what nobody asks for any more."""
    while True:
        await asyncio.sleep(_TIDY_S)
        book.forget()


class _Page(StaticFiles):
    """The page, where no route is. Mounted at `/` it would take calls of a wrong method as well, and answer 404.

    A call of any method to what is not there is told so, and not that its method is wrong.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD") and not self._has(self.get_path(scope)):
            raise HTTPException(404)
        else:
            await super().__call__(scope, receive, send)

    def _has(self, path: str) -> bool:
        return path == "." or self.lookup_path(path)[1] is not None


def _tell_failures(app: FastAPI) -> None:
    """Answer every failure with problem details."""

    @app.exception_handler(ProblemError)
    async def tell_problem(_: Request, error: ProblemError) -> Response:
        return problem_response(error.problem)

    @app.exception_handler(RequestValidationError)
    async def tell_parameter(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return problem_response(Problem("bad-parameter", f"{first['loc'][-1]}: {first['msg']}"))

    @app.exception_handler(HTTPException)
    async def tell_status(request: Request, error: HTTPException) -> Response:
        kind = _KINDS_BY_STATUS.get(error.status_code, "bad-request")
        details = {"not-found": "see /docs for what is here", "method-not-allowed": "see the header Allow"}
        headers = dict(error.headers or {})
        if allowed := kind == "method-not-allowed" and _methods_at(app, request):
            headers["Allow"] = ", ".join(allowed)
        return problem_response(Problem(kind, details.get(kind, str(error.detail)), headers))

    @app.exception_handler(Exception)
    async def tell_internal(_: Request, error: Exception) -> Response:
        log_failure(error)
        return problem_response(Problem("internal", "an error of the server, not of the request; please report it"))


def _methods_at(app: FastAPI, request: Request) -> list[str]:
    """Return the methods that an address takes: of all its routes, where Starlette tells those of the first."""

    def takes(method: str) -> bool:
        scope = {**request.scope, "method": "GET" if method == "HEAD" else method}
        return any(route.matches(scope)[0] is Match.FULL for route in app.routes)

    return [method for method in METHODS if takes(method)]


def problem_response(problem: Problem) -> JSONResponse:
    """Return a problem as an HTTP response."""
    headers = {name: value for name, value in problem.headers.items() if name.lower() != "content-length"}
    return JSONResponse(problem.to_dict(), problem.status, headers, media_type=MEDIA_TYPE)
