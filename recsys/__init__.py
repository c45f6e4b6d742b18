"""Music recommendation from listening, language and sound. See docs/architecture.md."""

from __future__ import annotations

__version__ = "0.1.0"
