"""The application: one process that retrieves, blends, explains and answers.

::

    HTTP --> Ray Serve's proxy --> replica: FastAPI (routes.py, about.py, intake.py, operations.py)
                                      |--> Live (live.py) --> bundle, memory-mapped
                                      '--> event store: what this listener did since

Enters: a folder of trained versions. Leaves: `create_app`, an ASGI application for any server or
test, and `build`, the same application for Ray Serve. There is one deployment, because every hop
between processes costs more than the work of one request.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from pydantic import BaseModel, ConfigDict, Field

from recsys import __version__
from recsys.bundle import Models
from recsys.config import ServingConfig
from recsys.data.dataset import Dataset
from recsys.data.eventstore import EventStore
from recsys.serving.about import about
from recsys.serving.asked import Desk
from recsys.serving.chart import Charts
from recsys.serving.clips import Clips
from recsys.serving.experiment import Exposures
from recsys.serving.forgetting import Forgetting
from recsys.serving.intake import intake
from recsys.serving.live import Live
from recsys.serving.middleware import ACCESS_LOG, EntityTags, Limits, Watch
from recsys.serving.operations import health, metrics, operations
from recsys.serving.page import pages
from recsys.serving.parameters import SentPaths
from recsys.serving.problems import handle_errors
from recsys.serving.routes import lists

if TYPE_CHECKING:
    from ray.serve import Application

__all__ = ["AppArgs", "build", "create_app", "default_events"]

_DEFAULTS = ServingConfig()
_GZIP_FROM_BYTES = 1_000
_GZIP_LEVEL = 3
# Ours is reached first: it answers with a problem, and in a known time.
_SERVE_MAX_ONGOING = 1_000
_BUSY = 8
"""Requests under way in a replica from which on another one is wanted."""


class AppArgs(BaseModel):
    """What the application is told; ``args`` in serve_config.yaml."""

    model_config = ConfigDict(extra="forbid")

    models: str = Field(description="Folder of trained versions.")
    events: str | None = Field(
        default=None,
        description="Address of the event store; default: SQLite in the folder of versions, and "
        "none where that is a bucket.",
    )
    dataset: str | None = Field(
        default=None, description="What was trained on: for clips, and for deleting listeners."
    )
    require_keys: bool = Field(
        default=True, description="Refuse everything while no API key was created."
    )
    max_k: int = Field(
        default=_DEFAULTS.max_k, ge=1, description="The longest list to be asked for."
    )
    max_body_bytes: int = Field(default=_DEFAULTS.max_body_bytes, ge=1)
    max_requests: int = Field(
        default=_DEFAULTS.max_requests, ge=1, description="Under way in one replica; then 503."
    )
    replicas: int = Field(default=_DEFAULTS.replicas, ge=1, description="Processes that answer.")
    max_replicas: int = Field(
        default=_DEFAULTS.max_replicas, ge=0, description="Autoscale up to so many; 0: do not."
    )
    cors_origins: list[str] = Field(
        default_factory=list, description="Web pages elsewhere that may ask."
    )
    access_log: str = Field(default="", description="File that gets a JSON line for each request.")
    metrics_folder: str | None = Field(
        default=None, description="Where replicas of one machine put their numbers together."
    )


def default_events(models: str) -> str | None:
    """Return the address of the event store that a folder of versions has by itself."""
    if "://" in models:
        return None
    return f"sqlite:///{Path(models).absolute()}/events.db"


def create_app(args: AppArgs, *, poll_s: float = 0.5, numbered: bool = False) -> FastAPI:
    """Return the web application; it loads the active version when it is started.

    Parameters
    ----------
    args
        Which versions, and what is allowed.
    poll_s
        Seconds between two looks at which version is active.
    numbered
        Whoever calls the application puts the request's number on the answer.
    """
    if args.metrics_folder is not None:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = args.metrics_folder
    from recsys.serving.metrics import Metrics  # reads that variable when it is imported

    counted = Metrics()

    @asynccontextmanager
    async def following(app: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as stack:
            app.state.desk = await run_in_threadpool(_open, args, counted, poll_s, stack)
            app.state.live = app.state.desk.live
            yield
            await run_in_threadpool(stack.close)

    app = FastAPI(
        title="recsys",
        summary="Music recommendation from listening, language and sound.",
        version=__version__,
        lifespan=following,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.max_k = args.max_k
    for middleware, options in (  # the last one is the outermost
        (EntityTags, {}),
        (GZipMiddleware, {"minimum_size": _GZIP_FROM_BYTES, "compresslevel": _GZIP_LEVEL}),
        (SentPaths, {}),
        (Limits, {"max_body_bytes": args.max_body_bytes, "max_requests": args.max_requests}),
        (Watch, {"metrics": counted, "numbered": numbered}),
    ):
        app.add_middleware(middleware, **options)
    if args.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=args.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-None-Match", "X-Request-ID"],
            expose_headers=["ETag", "X-Request-ID", "Retry-After"],
        )
    # Routes are tried in this order, so what is asked most comes first.
    for router in (health, lists, about, intake, operations, metrics, pages):
        app.include_router(router)
    handle_errors(app)
    return app


def _open(args: AppArgs, counted: Any, poll_s: float, stack: ExitStack) -> Desk:
    """Open what the application answers from; `stack` closes it, the last one first."""
    if args.access_log:
        handler = logging.FileHandler(args.access_log, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(message)s"))
        log = logging.getLogger(ACCESS_LOG)
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
        stack.callback(handler.close)
        stack.callback(log.removeHandler, handler)
    models = Models(args.models)
    dataset = None if args.dataset is None else Dataset(args.dataset)
    url = args.events or default_events(args.models)
    store = exposures = forgetting = None
    if url is not None:
        if args.events is None:
            Path(args.models).mkdir(parents=True, exist_ok=True)
        store = EventStore(url)
        stack.callback(store.close)
        exposures = Exposures(store)
        stack.callback(exposures.close)
        forgetting = Forgetting(models, store, dataset)
        forgetting.start()
        stack.callback(forgetting.stop)
    live = Live(models, poll_s=poll_s, keys_required=args.require_keys)
    live.start()
    stack.callback(live.stop)
    desk = Desk(
        live=live,
        store=store,
        metrics=counted,
        clips=Clips(dataset),
        charts=Charts(models.folder),
        exposures=exposures,
        forgetting=forgetting,
    )
    stack.callback(desk.makers.shutdown)
    return desk


class Server:
    """What a Serve replica runs."""

    def __init__(self, args: AppArgs) -> None:
        self._args = args

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(self._args, numbered=True)


def build(args: AppArgs | Mapping[str, Any]) -> Application:
    """Return the application for Ray Serve; serve_config.yaml names this function."""
    # Serve checks the arguments only where an annotation is a class, and ours are postponed.
    checked = AppArgs.model_validate(args)
    # Serve reads its flags when it is imported, so an entry point must be able to set them first.
    from ray import serve
    from ray.serve.config import AutoscalingConfig, BackpressureConfig

    size: dict[str, Any] = {"num_replicas": checked.replicas}
    if checked.max_replicas > checked.replicas:
        size = {
            "autoscaling_config": AutoscalingConfig(
                min_replicas=checked.replicas,
                max_replicas=checked.max_replicas,
                # Below what a replica takes at once, or refusing would keep it from growing.
                target_ongoing_requests=min(_BUSY, checked.max_requests / 2),
                upscale_delay_s=5,
                downscale_delay_s=60,
            )
        }
    deployment: Any = serve.deployment(serve.ingress()(Server))
    application: Application = deployment.options(
        name="recsys",
        max_ongoing_requests=_SERVE_MAX_ONGOING,
        max_queued_requests=_SERVE_MAX_ONGOING,
        backpressure_config=BackpressureConfig(status_code=503, retry_after_s=1),
        **size,
    ).bind(checked)
    return application
