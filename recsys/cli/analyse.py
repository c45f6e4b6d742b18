"""recsys analyse FILE...: tempo, key, mode, time signature and loudness of audio files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsys.cli.console import print_json
from recsys.cli.options import Workers

__all__ = ["command"]


def command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Audio files.")],
    excerpt_s: Annotated[
        float, typer.Option("--excerpt", min=1.0, help="Seconds heard, from the file's middle.")
    ] = 60.0,
    workers: Workers = 1,
) -> None:
    """Print one JSON line per file; a file that cannot be read gets its reason, and exit code 1.

    With several workers the lines come in the order in which files are done.
    """
    from recsys.audio.analysis import analyse
    from recsys.cluster.session import backend_of

    failed = False
    with backend_of(workers) as backend:
        for row in analyse(map(str, files), backend, excerpt_s=excerpt_s):
            failed |= "error" in row
            print_json(row)
    if failed:
        raise typer.Exit(1)
