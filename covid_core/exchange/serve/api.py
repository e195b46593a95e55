"""The prediction server's answers. ``predict`` gives the JSON of ``second-look predict --json``.

An upload is held in memory alone, its body and its parts, and decoded by ``images.sandbox``. Who asks is known, and
the length of the body, before anything of it is read.
"""

import asyncio
import contextlib
import importlib.resources
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import anyio.to_thread
import fastapi_offline
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from covid_core import __version__, access
from covid_core.access import Actor
from covid_core.access.web import Allowance
from covid_core.errors import CovidCoreError, InvalidChoice, NotPermitted, UnknownId
from covid_core.evaluation.conformal import USUAL_COVERAGE
from covid_core.exchange.serve import tokens
from covid_core.images.codec import LARGEST_FILE
from covid_core.inference.predictor import Predictor
from covid_core.reports import image_report
from covid_core.reports.encode import encode
from covid_core.runs.store import Run
from covid_core.work import cores
from covid_core.workspace import Workspace

LARGEST_BODY = 64 * 2**20  # bytes, as ``server.maxUploadSize`` of the app
MOST_FILES = 100  # images of one request
MOST_WAITING = 64  # requests that are received, wait or are answered
MOST_HELD = 512 * 2**20  # bytes of their bodies together
BODY_SECONDS = 30.0  # for a body to arrive
SOON = {"Retry-After": "2"}  # seconds
PARTS = "multipart/form-data"
PICTURES = ("image/png", "image/jpeg", "image/tiff", "application/dicom", "application/octet-stream")
BODY = "body"  # what an image is called that came without a name
PAGE = Path(__file__).parent  # of page.html and page.js
STATUSES = {InvalidChoice: 422, NotPermitted: 403, UnknownId: 404}  # 503 for all other errors of ours
FILE = {"type": "string", "format": "binary"}
FILES = {"type": "array", "items": FILE, "minItems": 1, "maxItems": MOST_FILES}
IMAGES = {
    "required": True,
    "content": {
        PARTS: {
            "schema": {
                "type": "object",
                "required": ["files"],
                "properties": {"files": FILES},
                "additionalProperties": False,
            }
        },
        **{kind: {"schema": FILE} for kind in PICTURES},
    },
}


class Served(NamedTuple):
    """A run that answers."""

    run: Run
    predictor: Predictor


class Refusal(BaseModel):
    """Why there is no answer, in a sentence."""

    error: str


class Prediction(BaseModel):
    """What a run makes of images, as ``second-look predict --json`` prints it."""

    run: str
    trained_on_synthetic: bool
    coverage: float
    calibration: dict[str, Any]
    images: list[dict[str, Any]] = Field(description="what needs a look first on top; `error` is why one was not read")
    failed: bool = Field(description="whether an image could not be read")


class Health(BaseModel):
    """That the server answers."""

    status: str
    version: str


class Runs(BaseModel):
    """The runs that answer, the first where none is named."""

    runs: list[dict[str, Any]]


WHY = {
    401: "no token, or a wrong one",
    403: "the token's role may not do that, or a page of another server asked",
    404: "no such run",
    408: "the body did not arrive in time",
    411: "the length of the body is missing",
    413: "too large",
    415: "no kind of image",
    429: "too many requests at once, or too much within ten minutes",
    503: "the run cannot answer",
}
REFUSALS: dict[int | str, dict[str, Any]] = {code: {"model": Refusal, "description": why} for code, why in WHY.items()}
UNREAD = {422: {"model": Prediction | Refusal, "description": "no image could be read, or a wrong parameter"}}


class Waiting:
    """Room for requests: how many, and for how many bytes."""

    def __init__(self) -> None:
        self.requests = self.held = 0

    @contextlib.contextmanager
    def place(self, size: int) -> Iterator[None]:
        """A place for a body of so many bytes. Raises HTTPException where there is none."""
        if self.requests >= MOST_WAITING or self.held + size > MOST_HELD:
            sentence = f"The server is busy: {self.requests} requests wait. Try again in a moment."
            raise HTTPException(429, sentence, SOON)
        self.requests, self.held = self.requests + 1, self.held + size
        try:
            yield
        finally:
            self.requests, self.held = self.requests - 1, self.held - size


class InMemory(MultiPartParser):
    """The parts of a body, none of which goes through a file."""

    spool_max_size = 0  # no size at which SpooledTemporaryFile turns to the disk


_present: ContextVar[Actor | None] = ContextVar("present", default=None)


def visitor() -> Actor:
    """Who asks; outside of a request the server itself."""
    return _present.get() or access.local()


def application(workspace: Workspace, served: Mapping[str, Served], token_file: Path) -> FastAPI:
    """The application for some runs, by id; the first answers where a request names none."""
    app = FastAPI(
        title="Second Look",
        version=__version__,
        description="Predictions for chest X-ray images. For research and teaching. Not a medical device.",
        docs_url=None,
        redoc_url=None,
    )
    waiting, allowance = Waiting(), Allowance()
    workers = anyio.CapacityLimiter(cores())
    bearer = HTTPBearer(auto_error=False, description="A token of the workspace's file of tokens")

    async def holder(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> Actor:
        """Who asks, which the core's checks then go by."""
        actor = tokens.actor(token_file, credentials.credentials) if credentials else None
        if actor is None:
            sentence = "This needs a token: Authorization: Bearer TOKEN."
            raise HTTPException(401, sentence, {"WWW-Authenticate": "Bearer"})
        _present.set(actor)
        return actor

    @app.get("/health")
    async def health() -> Health:
        """Whether the server answers. Needs no token."""
        return Health(status="ok", version=__version__)

    @app.get("/runs", responses={code: REFUSALS[code] for code in (401, 403, 503)})
    async def runs(_actor: Annotated[Actor, Depends(holder)]) -> Runs:
        """The runs that answer."""
        await anyio.to_thread.run_sync(access.check, workspace, access.VIEW)
        return Runs(runs=encode([one.run for one in served.values()]))

    @app.post(
        "/predict", responses={200: {"model": Prediction}, **REFUSALS, **UNREAD}, openapi_extra={"requestBody": IMAGES}
    )
    async def predict(
        request: Request,
        actor: Annotated[Actor, Depends(holder)],
        run: Annotated[str, Query(description="id of a run; by default the server's first one")] = "",
        coverage: Annotated[
            float, Query(ge=0.7, le=0.99, description="how often the prediction set contains the true class")
        ] = USUAL_COVERAGE,
        window: Annotated[int, Query(ge=0, le=99, description="number of the window to read the image through")] = 0,
        anyway: Annotated[bool, Query(description="give numbers also for an image that failed a check")] = False,
    ) -> JSONResponse:
        """What a run makes of images: as parts of a form, or one as the body. The content tells the kind of file."""
        run = run or next(iter(served))
        if run not in served:
            raise UnknownId("This server has no run of that id: GET /runs lists them.")
        await anyio.to_thread.run_sync(partial(access.check, workspace, access.UPLOAD, what=run))
        size = _size_of(request)
        if sentence := allowance.refusal(actor.name, size):
            raise HTTPException(429, sentence, SOON)
        with waiting.place(size):
            contents = await _contents(request)
            about = {"coverage": coverage, "window": window, "anyway": anyway}
            work = partial(image_report.of_files, workspace, *served[run], contents, **about)
            async with workers:
                answer = {} if await request.is_disconnected() else await anyio.to_thread.run_sync(work)
        failed = all("error" in one for one in answer.get("images", ()))
        return JSONResponse(encode(answer), 422 if failed else 200)

    @app.get("/docs", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "page.html")

    @app.get("/docs/page.js", include_in_schema=False)
    async def script() -> FileResponse:
        return FileResponse(PAGE / "page.js")

    app.mount("/docs/swagger", StaticFiles(directory=str(importlib.resources.files(fastapi_offline) / "static")))

    @app.exception_handler(AnyHTTPException)
    async def refused(_request: Request, error: AnyHTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def wrong(_request: Request, error: RequestValidationError) -> JSONResponse:
        faults = [f"{one['loc'][-1]}: {one['msg']}" for one in error.errors()]
        return JSONResponse({"error": f"{'; '.join(faults)}."}, 422)

    @app.exception_handler(CovidCoreError)
    async def mendable(_request: Request, error: CovidCoreError) -> JSONResponse:
        status = next((code for kind, code in STATUSES.items() if isinstance(error, kind)), 503)
        return JSONResponse({"error": str(error)}, status)

    return app


def _size_of(request: Request) -> int:
    """Bytes of the body, which the request names. Raises HTTPException for one that is too large or not an image."""
    kind = _kind_of(request)
    if kind not in (PARTS, *PICTURES):
        kinds = ", ".join(PICTURES)
        raise HTTPException(415, f"Send images as {PARTS}, or one as the body with a Content-Type of {kinds}.")
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdecimal()):
        raise HTTPException(411, "A request has to name the length of its body.")
    most = LARGEST_BODY if kind == PARTS else LARGEST_FILE
    if int(length) > most:
        raise HTTPException(413, f"The body is larger than {most // 2**20} MiB.")
    return int(length)


def _kind_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _contents(request: Request) -> list[tuple[str, Callable[[], bytes]]]:
    """Names of the images in a body, and what gives their bytes. Raises HTTPException."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = b"".join([chunk async for chunk in request.stream()])
    except (TimeoutError, ClientDisconnect):
        raise HTTPException(408, f"The body did not arrive within {BODY_SECONDS:g} seconds.") from None
    if _kind_of(request) != PARTS:
        return [(BODY, _reader(body))]
    try:
        form = await InMemory(request.headers, stream_of(body), max_files=MOST_FILES, max_fields=0).parse()
    except MultiPartException as error:
        raise HTTPException(422, f"The form cannot be read: {error.message.rstrip('.')}.") from None
    files = [one for _, one in form.multi_items() if isinstance(one, UploadFile)]
    contents = [(one.filename or BODY, _reader(await one.read())) for one in files]
    await form.close()
    if not contents:
        raise HTTPException(422, "The form holds no file. Send each image as a part with a file name.")
    return contents


def _reader(content: bytes) -> Callable[[], bytes]:
    return lambda: content


async def stream_of(body: bytes) -> AsyncIterator[bytes]:
    yield body
