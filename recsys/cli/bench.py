"""recsys bench: measure what this machine does, for `recsys plan`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from recsys.cli.console import print_json, print_table
from recsys.cli.options import AsJson

__all__ = ["command"]


def command(
    factors: Annotated[int, typer.Option(min=1, help="Factors that the rates are for.")] = 40,
    seconds: Annotated[float, typer.Option(min=1, help="How long to measure.")] = 20.0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write them for `recsys plan --rates`.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the solver on one core and the object store on this machine."""
    import json

    from recsys.cluster import RayBackend, ray_session
    from recsys.cluster.planner import measure_rates

    with ray_session(num_cpus=2, object_store_bytes=500_000_000), RayBackend(2) as backend:
        rates = measure_rates(factors, backend, seconds=seconds)
    if out is not None:
        out.write_text(json.dumps(asdict(rates), indent=1) + "\n")
    if as_json:
        print_json(asdict(rates))
        return
    rows = [
        ("entry of one half-step", f"{rates.entry_s * 1e9:.1f} ns of one core"),
        ("row of one half-step", f"{rates.row_s * 1e9:.0f} ns of one core"),
        ("copy of a row", f"{rates.copy_s * 1e9:.0f} ns of one core"),
        ("object store, written", f"{rates.store_bytes_per_s / 1e9:.2f} GB/s"),
        ("half-step with nothing to do", f"{rates.half_step_s * 1e3:.1f} ms"),
    ]
    print_table(f"Rates at {factors} factors", ["what", "rate"], rows, numeric=["rate"])
