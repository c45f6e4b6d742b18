"""The command line: one file per command; each parses, calls one function, prints.

Only the module of the command that was asked for is imported, so ``recsys --help`` stays quick.
Results go to stdout, everything else to stderr. Exit 0: done, 1: could not, 2: wrong usage.
"""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import Annotated

import typer
from typer.exceptions import TyperException

from recsys import __version__
from recsys.cli.console import ConsoleReporter
from recsys.errors import RecsysError
from recsys.progress import report_to

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "demo": "Make the demo world, train all, evaluate, print a Discover Weekly, serve.",
    "import": "Bring a source into a dataset.",
    "crawl": "Crawl pages, feeds and sitemaps politely into a dataset.",
    "describe": "Print counts, density, time range and problems of a dataset.",
    "train": "Train what a dataset has data for into a new version.",
    "update": "Bring what is new into a new version without training.",
    "evaluate": "Measure every model on the events it has not seen.",
    "tune": "Search the best settings with Ray Tune.",
    "recommend": "Print recommendations for one listener, or write those of all.",
    "similar": "Print the nearest items, artists or listeners.",
    "playlist": "Print what to play after some items, or an artist's radio.",
    "segments": "Print the groups of listeners and what sets each apart.",
    "weekly": "Write the week's Discover Weekly of every listener.",
    "terms": "Print what is said of an artist.",
    "analyse": "Print tempo, key, mode, time signature and loudness of audio files.",
    "models": "List, activate, roll back or verify trained versions.",
    "serve": "Answer over HTTP.",
    "keys": "Create, list or revoke API keys.",
    "experiment": "Let two versions answer side by side, and compare them.",
    "forget": "Delete a listener everywhere.",
    "doctor": "Check this machine, trained versions, and a running server.",
    "bench": "Measure what this machine does, for plan.",
    "plan": "Predict what a sharded training takes on a cluster.",
    "config": "Show the whole configuration, or check a file.",
}
"""Every command, in the order of the work, with its line of help."""

_UNUSABLE_FILES = {errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EFBIG}


def main() -> None:
    """Run the command line and exit with its code."""
    arguments = sys.argv[1:]
    wanted = next((a for a in arguments if not a.startswith("-")), None)
    debug = "--debug" in arguments[: arguments.index(wanted)] if wanted else False
    try:
        with report_to(ConsoleReporter()):
            sys.exit(_application(wanted)(prog_name="recsys", standalone_mode=False))
    except TyperException as error:
        command = f"recsys {wanted}" if wanted in COMMANDS else "recsys"
        _fail(f"{error.format_message()} See `{command} --help`.", 2)
    except typer.Abort:
        _fail("interrupted", 130)
    except RecsysError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:
        # The reader of our output went away; point stdout elsewhere so that exit stays silent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if debug or error.errno not in _UNUSABLE_FILES:
            raise
        where = f"{error.filename}: " if error.filename else ""
        reason = os.strerror(error.errno or 0)
        _fail(f"{where}{reason}; what was complete before still is: mend it and repeat", 1)


def _application(wanted: str | None) -> typer.Typer:
    """Return an application that knows every command but has imported only `wanted`."""
    application = typer.Typer(
        name="recsys",
        help="Music recommendation from listening, language and sound.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    application.callback()(_options)
    for name, summary in COMMANDS.items():
        if name == wanted:
            # A module cannot be called after a keyword.
            module = import_module(f"recsys.cli.{name}{'_' if name == 'import' else ''}")
            application.command(name, help=module.command.__doc__)(module.command)
        else:
            application.command(name, help=summary)(_not_imported)
    return application


def _not_imported() -> None:
    raise AssertionError("only the wanted command is ever called")


def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=lambda v: _version(v))
    ] = False,
) -> None:
    """Music recommendation from listening, language and sound."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def _fail(message: str, code: int) -> None:
    line = " ".join(message.split())
    print(f"recsys: {line}", file=sys.stderr)
    sys.exit(code)
