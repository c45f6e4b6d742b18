"""For those who run the server: health, versions, experiments, metrics."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import PlainTextResponse, Response

from recsys.errors import BundleError, NotFoundError, nearest
from recsys.serving import schemas
from recsys.serving.asked import desk_of
from recsys.serving.parameters import Active, only_known
from recsys.serving.problems import documented
from recsys.serving.security import allowed

__all__ = ["health", "metrics", "operations"]

health = APIRouter(prefix="/v1/health", tags=["health"])
operations = APIRouter(prefix="/v1", tags=["models"])
metrics = APIRouter(tags=["health"])
_METRICS = 'recsys_cache_total{result="hit"} 1042.0\n'


@health.get("/live", responses={})
async def live() -> schemas.Health:
    """Say that the process lives."""
    return schemas.Health(status="live")


@health.get("/ready", responses=documented(503))
async def ready(version: Active) -> schemas.Health:
    """Say that a version is loaded and answers."""
    return schemas.Health(status="ready")


@operations.get(
    "/models",
    dependencies=[Depends(allowed("read")), Depends(only_known)],
    responses=documented(401, 422),
)
def models(version: Active, request: Request) -> schemas.ModelVersions:
    """List the trained versions and say which one answers."""
    followed = desk_of(request).live
    experiment = followed.experiment
    return schemas.ModelVersions(
        serving=version.name,
        problem=followed.problem,
        experiment=None if experiment is None else schemas.Experiment(**vars(experiment)),
        versions=[
            schemas.ModelVersion.model_validate(summary) for summary in followed.models.summaries()
        ],
    )


@operations.post(
    "/models/{version}/activate",
    dependencies=[Depends(allowed("admin")), Depends(only_known)],
    responses=documented(401, 404, 409, 422),
)
def activate(
    request: Request,
    version: Annotated[
        str, Path(description="Version.", examples=["20261121T120000000000-1a2b3c"])
    ],
) -> schemas.Activated:
    """Let another version answer; each replica follows within a second.

    A version that cannot be loaded leaves the one before answering: ask /v1/models.
    """
    kept = desk_of(request).live.models
    known = kept.versions()
    if version not in known:
        raise NotFoundError("version", version, nearest(version, known, n=3))
    try:
        kept.activate(version)
    except BundleError as error:
        raise HTTPException(409, str(error)) from error
    return schemas.Activated(active=version)


@metrics.get(
    "/metrics",
    dependencies=[Depends(allowed("read"))],
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"example": _METRICS}}}, **documented(401)},
)
def prometheus(request: Request) -> Response:
    """Give the numbers of this server in Prometheus's text format."""
    from recsys.serving.metrics import CONTENT_TYPE_LATEST

    return Response(desk_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)
