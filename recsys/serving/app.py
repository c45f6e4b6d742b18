"""The application: one process that retrieves, blends, explains and answers.

::

    HTTP --> Ray Serve's proxy --> replica: FastAPI (routes.py) --> Live (live.py) --> bundle

Enters: a folder of trained versions. Leaves: `create_app`, an ASGI application for any server or
test, and `build`, the same application for Ray Serve. There is one deployment, because every hop
between processes costs more than the work of one request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from recsys import __version__
from recsys.bundle import Models
from recsys.config import ServingConfig
from recsys.serving.live import Live
from recsys.serving.page import pages
from recsys.serving.parameters import SentPaths
from recsys.serving.problems import handle_errors
from recsys.serving.routes import router

if TYPE_CHECKING:
    from ray.serve import Application

__all__ = ["AppArgs", "build", "create_app"]

_MAX_ONGOING_REQUESTS = 64
_MAX_QUEUED_REQUESTS = 512


class AppArgs(BaseModel):
    """What the application is told; ``args`` in serve_config.yaml."""

    model_config = ConfigDict(extra="forbid")

    models: str = Field(description="Folder of trained versions.")
    max_k: int = Field(
        default=ServingConfig().max_k, ge=1, description="The longest list to be asked for."
    )
    replicas: int = Field(
        default=ServingConfig().replicas, ge=1, description="Processes that answer."
    )


def create_app(args: AppArgs, *, poll_s: float = 0.5) -> FastAPI:
    """Return the web application; it loads the active version when it is started.

    Parameters
    ----------
    args
        Which versions, and what is allowed.
    poll_s
        Seconds between two looks at which version is active.
    """

    @asynccontextmanager
    async def following(app: FastAPI) -> AsyncIterator[None]:
        live = app.state.live = Live(Models(args.models), poll_s=poll_s)
        await run_in_threadpool(live.start)
        yield
        await run_in_threadpool(live.stop)

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
    app.add_middleware(SentPaths)
    app.include_router(router)
    app.include_router(pages)
    handle_errors(app)
    return app


class Server:
    """What a Serve replica runs."""

    def __init__(self, args: AppArgs) -> None:
        self._args = args

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(self._args)


def build(args: AppArgs | Mapping[str, Any]) -> Application:
    """Return the application for Ray Serve; serve_config.yaml names this function."""
    # Serve checks the arguments only where an annotation is a class, and ours are postponed.
    checked = AppArgs.model_validate(args)
    # Serve reads its flags when it is imported, so an entry point must be able to set them first.
    from ray import serve

    deployment: Any = serve.deployment(serve.ingress()(Server))
    application: Application = deployment.options(
        name="recsys",
        num_replicas=checked.replicas,
        max_ongoing_requests=_MAX_ONGOING_REQUESTS,
        max_queued_requests=_MAX_QUEUED_REQUESTS,
    ).bind(checked)
    return application
