"""recsys plan: what a sharded training would take, from rates measured on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from recsys.cli.console import print_json, print_table
from recsys.cli.options import AsJson

__all__ = ["command"]


def command(
    users: Annotated[float, typer.Option(help="Listeners.")] = 140e6,
    items: Annotated[float, typer.Option(help="Items.")] = 30e6,
    events: Annotated[
        float, typer.Option(help="Pairs of a listener and an item that have any event.")
    ] = 20e9,
    factors: Annotated[int, typer.Option(min=1)] = 40,
    iterations: Annotated[int, typer.Option(min=1)] = 20,
    nodes: Annotated[int, typer.Option(min=1)] = 16,
    cores: Annotated[int, typer.Option(min=1, help="Cores of each node.")] = 16,
    network_gbit: Annotated[
        float, typer.Option(help="What a node receives, in gigabits a second.")
    ] = 10.0,
    rates: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of `recsys bench --out`; else measured.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict time, memory, network and object store; the defaults are Spotify's matrix of 2015."""
    from recsys.cluster.planner import Workload, plan

    measured = _rates(rates, factors)
    work = Workload(users, items, events, iterations, nodes, cores, network_gbit / 8 * 1e9)
    found = plan(work, measured)
    assumed = _assumptions(network_gbit, cores)
    if as_json:
        facts = {"plan": asdict(found), "rates": asdict(measured), "workload": asdict(work)}
        print_json(facts | {"assumptions": assumed, "sources": _SOURCES})
        return
    rows = [
        ("time, all sweeps", f"{found.total_s / 60:.1f} min"),
        ("a sweep", f"{found.sweep_s:.2f} s"),
        ("  solving", f"{found.solve_s:.2f} s"),
        ("  copying rows", f"{found.copy_s:.2f} s"),
        ("  network", f"{found.network_s:.2f} s"),
        ("  object store", f"{found.store_s:.2f} s"),
        ("  round trips", f"{found.verbs_s:.2f} s"),
        ("moved in a sweep", f"{found.bytes_moved / 1e9:.1f} GB"),
        ("memory of a node", f"{found.memory_bytes / 1e9:.1f} GB"),
        ("  of it object store", f"{found.store_bytes / 1e9:.1f} GB"),
    ]
    title = f"{users:.3g} listeners x {items:.3g} items, {events:.3g} entries, {factors} factors, "
    title += f"{iterations} sweeps, {nodes} nodes of {cores} cores"
    print_table(title, ["what", "predicted"], rows, numeric=["predicted"])
    print("Assumed: " + "; ".join(assumed) + ".")
    print(" ".join(_SOURCES))


_SOURCES = [
    "Spotify, two sources that are not one experiment: a matrix of 140 million listeners by 30 "
    "million songs in S. Ciocca, Spotify's Discover Weekly: how machine learning finds your new "
    "music, 2017;",
    "a run of 40 factors, about 20 iterations and a few hours on about 1,300 Hadoop nodes, told by "
    "Spotify's engineers about 2015, on another matrix (we know no text to cite).",
]


def _assumptions(network_gbit: float, cores: int) -> list[str]:
    return [
        "a core of the cluster is as fast as one of this machine, and all cores as fast as one",
        f"one worker a node with {cores} threads",
        f"{network_gbit:g} Gbit/s into every node at once",
        "every node needs every row of the fixed side",
        "steps follow each other without overlap",
        "entries are spread evenly; the log is read before",
        "entries are a guess where no source gives them (Spotify: 20e9)",
    ]


def _rates(path: Path | None, factors: int) -> Any:
    """Read the rates of a file, or measure them."""
    import json

    from recsys.cluster import RayBackend, ray_session
    from recsys.cluster.planner import Rates, measure_rates
    from recsys.errors import InputError, UsageError

    if path is None:
        with ray_session(num_cpus=2, object_store_bytes=500_000_000), RayBackend(2) as backend:
            return measure_rates(factors, backend)
    try:
        found = Rates(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: no rates ({error}); make them with `recsys bench`") from error
    if found.factors != factors:
        raise UsageError(
            f"{path}: rates at {found.factors} factors, want {factors}; "
            f"run `recsys bench --factors {factors}`"
        )
    return found
