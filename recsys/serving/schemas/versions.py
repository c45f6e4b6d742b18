"""The shapes of what an operator asks for: health, versions, an experiment."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from recsys.serving.schemas.events import example

__all__ = [
    "Activated",
    "Experiment",
    "Health",
    "ModelVersion",
    "ModelVersions",
]


class Health(BaseModel):
    """Whether the server lives or can answer."""

    model_config = example(status="ready")

    status: Literal["live", "ready"]


class ModelVersion(BaseModel):
    """One trained version."""

    model_config = ConfigDict(from_attributes=True)

    version: str
    made_at: str | None
    trained: list[str]
    counts: dict[str, int]
    problem: str | None = Field(
        default=None, description="Why it cannot be opened; null where it can."
    )


class Experiment(BaseModel):
    """A share of the listeners, answered by another version."""

    name: str
    version: str
    share: float
    started_at: str


class ModelVersions(BaseModel):
    """All versions, oldest first, and which of them answers."""

    model_config = example(serving="20261121T120000000000-1a2b3c", versions=[])

    serving: str = Field(description="The version that this server answers from.")
    experiment: Experiment | None = Field(
        default=None, description="The experiment that runs; null where none does."
    )
    problem: str | None = Field(
        default=None, description="Why that is not the active one; null where it is."
    )
    versions: list[ModelVersion]


class Activated(BaseModel):
    """The version that answers from now on."""

    model_config = example(active="20261121T120000000000-1a2b3c")

    active: str
