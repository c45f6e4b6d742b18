"""The same mathematics on many machines: Ray holds the parts and searches the settings."""

from __future__ import annotations

from recsys.cluster.ray_backend import RayBackend
from recsys.cluster.session import backend_of, ray_session

__all__ = ["RayBackend", "backend_of", "ray_session"]
