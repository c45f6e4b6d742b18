"""Vectors to neighbours: arrays only, no model."""

from __future__ import annotations

from recsys.retrieval.exact import ExactIndex

__all__ = ["ExactIndex"]
