"""recsys analyse FILE...: tempo, key, mode, time signature and loudness of audio files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsys.cli.console import print_json

__all__ = ["command"]


def command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Audio files.")],
    excerpt_s: Annotated[
        float, typer.Option("--excerpt", min=1.0, help="Seconds heard, from the file's middle.")
    ] = 60.0,
) -> None:
    """Print one JSON line per file; a file that cannot be read gets its reason, and exit code 1."""
    from recsys.audio.descriptors import describe_recording
    from recsys.audio.recordings import read_recording
    from recsys.errors import InputError

    failed = False
    for path in files:
        try:
            heard = read_recording(path, sample_rate=None, max_duration_s=excerpt_s, mix=False)
        except InputError as error:
            failed = True
            print_json({"path": str(path), "error": str(error)})
            continue
        described = describe_recording(heard.samples, heard.sample_rate)
        print_json({"path": str(path), **described.to_dict()})
    if failed:
        raise typer.Exit(1)
