"""The command ``koalib``: thin functions, each of which calls one room.

Exit status: 0 done, 1 the work failed, 2 the user's mistake (one line on stderr, no traceback).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from koalib.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Knee X-ray grading, reproducibly.")
data_app = typer.Typer(no_args_is_help=True, help="The data sets: list, fetch, verify, audit.")
study_app = typer.Typer(no_args_is_help=True, help="The studies: list, run, show, unseal, figures.")
app.add_typer(data_app, name="data")
app.add_typer(study_app, name="study")

Data = Annotated[str, typer.Option("--data", help="Folder of the real data sets (default: KOALIB_DATA).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]


def print_json(document: object) -> None:
    """Print one JSON document, the only thing on stdout."""
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


# ---------------------------------------------------------------- data


# ---------------------------------------------------------------- training and evaluation


# ---------------------------------------------------------------- studies


# ---------------------------------------------------------------- clinic


# ---------------------------------------------------------------- notebooks


def main() -> None:
    """Run the command; a user's mistake is one line on stderr and exit 2."""
    try:
        app()
    except UserError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"koalib: {error}", markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
