"""The same mathematics on many machines: Ray holds the parts and searches the settings."""

from __future__ import annotations

from recsys.cluster.ray_backend import RayBackend, cluster

__all__ = ["RayBackend", "cluster"]
