"""recsys doctor [MODELS] [--server URL]: is everything in order, and if not, what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from recsys.cli.console import print_json, print_table
from recsys.cli.options import AsJson
from recsys.errors import RecsysError

__all__ = ["command"]


def command(
    models: Annotated[
        str | None, typer.Argument(metavar="MODELS", help="Folder of trained versions to check.")
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="A running server to ask.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(envvar="RECSYS_KEY", help="API key; better in the environment.")
    ] = None,
    events: Annotated[
        str | None, typer.Option(metavar="URL", help="Event store; default: beside the versions.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check this machine, trained versions, the event store, and a running server."""
    from recsys.serving import doctor

    findings = doctor.of_machine()
    if models is not None:
        findings += doctor.of_models(models, events)
    if server is not None:
        findings += doctor.of_server(server, key)
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        rows = [("ok" if f.ok else "FAULT", f.what, f.told) for f in findings]
        print_table("recsys doctor", ["", "what", "found"], rows)
    n_faults = sum(not finding.ok for finding in findings)
    if n_faults:
        raise RecsysError(f"{n_faults} of {len(findings)} checks failed; see above")
