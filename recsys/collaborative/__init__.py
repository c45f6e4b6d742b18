"""Events to vectors: implicit ALS with biases."""

from __future__ import annotations

from recsys.collaborative.factors import Explanation, Factors
from recsys.collaborative.model import AlternatingLeastSquares

__all__ = ["AlternatingLeastSquares", "Explanation", "Factors"]
