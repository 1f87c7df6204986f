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
from rich.table import Table

from koalib.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Knee X-ray grading, reproducibly.")
data_app = typer.Typer(no_args_is_help=True, help="The data sets: list, fetch, verify, audit.")
study_app = typer.Typer(no_args_is_help=True, help="The studies: list, run, show, unseal, figures.")
records_app = typer.Typer(no_args_is_help=True, help="The case book: check.")
app.add_typer(data_app, name="data")
app.add_typer(study_app, name="study")
app.add_typer(records_app, name="records")

Data = Annotated[str, typer.Option("--data", help="Folder of the real data sets (default: KOALIB_DATA).")]
KeepIdentity = Annotated[bool | None, typer.Option("--keep-identity/--no-keep-identity", envvar="KOALIB_KEEP_IDENTITY", help="Whether the case book may keep patient number, name and birth date of DICOM files and write them into DICOM reports; --no erases what it kept (default: as the book was told last, at first no).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]


def print_json(document: object) -> None:
    """Print one JSON document, the only thing on stdout."""
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def fail(line: str) -> None:
    """Say what failed and leave with 1."""
    print(f"koalib: {line}", file=sys.stderr)
    raise typer.Exit(1)


def interval(score: dict) -> str:
    """A score with its interval."""
    if score["value"] is None:
        return "undefined"
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


# ---------------------------------------------------------------- data


@data_app.command("list")
def data_list(data: Data = "", as_json: Json = False) -> None:
    """Show the data sets: films by split, licence, DOI, and whether they are here."""
    from koalib.data.listing import overview

    rows = overview(data)
    if as_json:
        return print_json(rows)
    table = Table("name", "films", "splits", "licence", "doi", "here")
    for row in rows:
        table.add_row(row["name"], str(row["images"] or "any"), ", ".join(row["counts"]), row["licence"], row["doi"], row["path"] or "no")
    Console().print(table)


@data_app.command("fetch")
def data_fetch(name: str, data: Data = "", mirror: Annotated[str, typer.Option(help="Another address of the zip, or of the folder it is in.")] = "",
               sha256: Annotated[str, typer.Option(help="Checksum of the zip, where its server publishes one.")] = "", as_json: Json = False) -> None:
    """Download a public data set and verify every film; a whole copy is not fetched again."""
    from koalib.data.fetch import fetch

    _tell_verification(fetch(name, data, mirror or None, sha256 or None), as_json)


@data_app.command("verify")
def data_verify(name: str, data: Data = "", as_json: Json = False) -> None:
    """Compare a copy with the manifest; exit 1 when it differs."""
    from koalib.data.verify import verify

    _tell_verification(verify(name, data), as_json)


def _tell_verification(found: dict, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        typer.echo(f"{found['dataset']}: {found['images']} films, {'complete and unchanged' if found['ok'] else 'not as published'}")
        for split, grades in found["counts"].items():
            typer.echo(f"  {split}: " + ", ".join(f"grade {grade} {n}" for grade, n in grades.items()))
        for kind in ("missing", "changed", "unknown", "patients_in_several_splits"):
            for item in found[kind]:
                typer.echo(f"  {kind.replace('_', ' ')}: {item}")
    if not found["ok"]:
        raise typer.Exit(1)


@data_app.command("audit")
def data_audit(name: str, data: Data = "", as_json: Json = False, out: Annotated[str, typer.Option(help="Folder of the page, the table and the JSON (default: build/audit/NAME).")] = "") -> None:
    """Look for copies, mirror images, inverted films, mixed patients and shortcuts in a set or in one's own films; exit 1 when films cannot be read."""
    from koalib.data.audit import audit
    from koalib.data.audit_page import write_audit

    found = audit(name, data)
    page = write_audit(found, Path(out or Path("build", "audit", Path(name).resolve().stem)))
    if as_json:
        print_json(found.report)
    else:
        for kind, value in found.report.items():
            typer.echo(f"{kind.replace('_', ' ')}: {len(value) if isinstance(value, list) else value}")
        typer.echo("".join(f"  {line}\n" for line in found.report["unreadable"]) + f"page with pictures: {page}")
    if found.report["unreadable"]:
        raise typer.Exit(1)


# ---------------------------------------------------------------- training and evaluation


@app.command()
def train(
    dataset: Annotated[str, typer.Option(help="phantom, gornale2020, chen2018, or a path.")],
    model: Annotated[str, typer.Option(help="A timm name: convwgcnet_atto, tf_efficientnet_lite0, ...")],
    pretrained: Annotated[str, typer.Option(help="none, imagenet, or a .safetensors file.")] = "none",
    gct: Annotated[str | None, typer.Option(help="none, dwconv, pwconv1, pwconv2, se, eca.")] = None,
    wavelet: Annotated[str | None, typer.Option(help="none, replace, add, conv5, unshuffle.")] = None,
    loss: Annotated[str, typer.Option(help="soft, ce, weighted, focal, corn, coral.")] = "soft",
    fold: Annotated[int | None, typer.Option(help="Fold that is tested; without it the data set's own split.")] = None,
    seed: int = 0,
    epochs: int = 8,
    size: Annotated[int, typer.Option(help="Film size in pixels.")] = 224,
    batch: int = 32,
    lr: float = 6e-4,
    augment: Annotated[str, typer.Option(help="none, light, standard, ...")] = "standard",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16.")] = "auto",
    patients: Annotated[int | None, typer.Option(help="Patients of the phantom.")] = None,
    settings: Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", help="Any other setting, such as sampler=balanced; repeatable, and stronger than the options. docs/training.md lists them.")] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Folder of the run (default: build/runs/RUN).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    data: Data = "",
    json_: Json = False,
) -> None:
    """Train one model; leave its weights, record and predictions in --out."""
    from koalib.paths import ROOT
    from koalib.study.experiment import Experiment
    from koalib.study.outcome import print_epoch
    from koalib.study.outcome import train as train_run
    from koalib.study.settings import read_settings
    from koalib.study.training import OutOfTime, TrainingFailed

    options = {"dataset": dataset, "model": model, "pretrained": pretrained, "gct": gct, "wavelet": wavelet, "loss": loss, "fold": fold, "seed": seed, "epochs": epochs,
               "size": size, "batch": batch, "lr": lr, "augment": augment, "precision": precision, "patients": patients}
    experiment = Experiment(**options | read_settings(settings))
    folder = out or ROOT / "build" / "runs" / experiment.run_name
    try:
        record = train_run(experiment, folder, data=data or None, resume=resume, report=print_epoch)
    except (TrainingFailed, OutOfTime) as error:
        fail(str(error))
    if not record:
        return
    if json_:
        print_json(record)
        return
    for split, found in record["scores"].items():
        print(f"{split}: " + ", ".join(f"{name} {interval(found[name])}" for name in ("accuracy", "qwk", "qwk_expected", "macro_f1")))
    print(f"{record['pretrained_source']} weights, {record['seconds']:.0f} s; model, record and predictions are in {folder}")


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A model.safetensors.")],
    dataset: Annotated[str, typer.Option(help="A data set's name or a path.")],
    split: Annotated[str | None, typer.Option(help="One split only, even one that trained the model.")] = None,
    data: Data = "",
    json_: Json = False,
) -> None:
    """Score a trained model on the films of a data set that did not train it, with intervals over patients."""
    from koalib.study.evaluation import evaluate as evaluate_checkpoint

    document = evaluate_checkpoint(checkpoint, dataset, split=split, data=data or None)
    if json_:
        print_json(document)
        return
    for name, (low, high) in document["intervals"].items():
        print(f"{name:28s} {interval({'value': document[name], 'low': low, 'high': high})}")
    for grade, sets in document["coverage"].items():
        print(f"{'coverage of the sets, ' + grade:28s} {interval(sets | {'value': sets['coverage']})}, {sets['size']:.2f} grades in a set")
    for line in document["notes"]:
        print(f"note: {line}")
    print(f"{document['n']} films; rows true grade, columns predicted:")
    for row in document["confusion"]:
        print("".join(f"{count:6d}" for count in row))


# ---------------------------------------------------------------- studies


@study_app.command("list")
def study_list() -> None:
    """The studies, and how many of their runs the ledger holds."""
    from koalib.study import external
    from koalib.study.experiments import STUDIES
    from koalib.study.ledger import read_failures
    from koalib.study.runner import progress

    for name, study in STUDIES.items():
        done, planned, blocked = progress(study)
        waiting = f", {blocked} need weights that are not on this machine" if blocked else ""
        failed = f", {len(failures)} failed" if (failures := read_failures(name)) else ""
        print(f"{name:14s} {done:3d} of {planned:3d} runs{waiting}{failed}  {study.title}")
    done, planned = external.progress()
    print(f"{external.NAME:14s} {done:3d} of {planned:3d} runs  {external.TITLE}")


@study_app.command("run")
def study_run(
    name: str,
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    minutes: Annotated[float | None, typer.Option(help="Stop after so many minutes; the next call goes on.")] = None,
    address: Annotated[str | None, typer.Option(help="A Ray cluster's address.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of a run (default: what PyTorch takes here).")] = None,
    data: Data = "",
) -> None:
    """Run what the ledger does not hold yet; go on where the last call stopped."""
    from koalib.study import abroad
    from koalib.study.runner import run_study

    if name == abroad.NAME:  # nothing is trained: saved models predict other films
        print(abroad.run_and_record(data or None))
        return
    failed = run_study(name, engine=engine, minutes=minutes, data=data or None, address=address, threads=threads)
    if failed:
        fail(f"{len(failed)} runs failed: {', '.join(failed)}")


@study_app.command("show")
def study_show(name: str, json_: Json = False) -> None:
    """A study's arms and comparisons with 95 % intervals, computed from its predictions."""
    from koalib.study import abroad, comparisons

    if name == abroad.NAME:
        tables = {"arms": abroad.table()}
    else:
        tables = {"arms": comparisons.arm_scores(name), "comparisons": comparisons.contrasts(name)}
    if json_:
        print_json({kind: json.loads(table.to_json(orient="records")) for kind, table in tables.items()})
        return
    for kind, table in tables.items():
        shown = table if name == abroad.NAME or not len(table) else comparisons.written(table)
        print(f"{shown.to_string(index=False)}\n" if len(shown) else f"{kind}: none recorded yet; koalib study run {name}")


@study_app.command("unseal")
def study_unseal(name: str) -> None:
    """Open a study's test predictions, once a committed protocol."""
    from koalib.study.opening import unseal

    record = unseal(name)
    print(f"{name}: opened {record['unsealed_at']} at commit {record['commit']}, protocol {record['protocol_sha256'][:12]}, {len(record['runs'])} runs")


@study_app.command("figures")
def study_figures() -> None:
    """Renew figures/ and the README's result table from the ledger."""
    from koalib.study.figures import renew

    for file in renew():
        print(file)


# ---------------------------------------------------------------- clinic


@app.command()
def grade(
    context: typer.Context,
    images: Annotated[list[Path], typer.Argument(help="Films: PNG, JPEG, TIFF or DICOM.", metavar="IMAGE...")],
    as_json: Json = False,
    heatmap: Annotated[Path | None, typer.Option(help="Write the film with its heat map here, .png.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a report here: .html, .pdf, .json, or .dcm for a DICOM Structured Report.")] = None,
    records: Annotated[Path | None, typer.Option(help="Keep the readings in this case book, .sqlite.")] = None,
    language: Annotated[str, typer.Option(envvar="KOALIB_LANGUAGE", help="en or zh.")] = "en",
    keep_identity: KeepIdentity = None,
    reader: Annotated[str, typer.Option(envvar="KOALIB_READER", help="Whose readings they are in the case book (default: the system's user).")] = "",
) -> None:
    """Grade films: one reading a knee, with tempered probabilities and a heat map."""
    from koalib.clinic import batch
    from koalib.clinic.grader import Grader

    # Where the environment says so, it is said of books in general, and this call may do without one.
    if keep_identity and not records and context.get_parameter_source("keep_identity").name == "COMMANDLINE":
        raise UserError("--keep-identity: there is no case book to keep it in; name one with --records")
    reader = reader or batch.system_user()
    found = batch.grade_films(Grader.load(), images, heatmap, report, records, language, keep_identity, reader)
    if as_json:
        readings = [diagnosis.as_dict() for diagnosis in found]
        print_json(readings)
        fine = all(reading["ok"] for reading in readings)
    else:
        fine = batch.print_lines(found, language)
    if records:
        print(f"kept for the reader {reader}; KOALIB_BOOK={records} koalib app --reader {reader} shows them", file=sys.stderr)
    if not fine:
        raise typer.Exit(1)


@records_app.command("check")
def records_check(book: Annotated[Path, typer.Argument(help="The case book, .sqlite.")]) -> None:
    """Compare readings and decisions with the log, and the log with its chain of hashes; exit 1 when something was changed or removed."""
    from koalib.clinic.records import Book

    if not book.is_file():
        raise UserError(f"{book}: no case book there; name the file of --records or KOALIB_BOOK")
    with Book(book) as opened:
        faults, lines = opened.audit_faults(), len(opened.audit())
    for fault in faults:
        typer.echo(f"{book}: {fault}")
    if faults:
        raise typer.Exit(1)
    typer.echo(f"{book}: {lines} lines in the log, which agrees with itself, the readings and the decisions")


@app.command("app")
def reading_room(
    port: Annotated[int, typer.Option(help="Port of the page.")] = 8866,
    ip: Annotated[str, typer.Option(help="Address to listen on; another than loopback only behind a login.")] = "127.0.0.1",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    keep_identity: KeepIdentity = None,
    reader: Annotated[str, typer.Option(envvar="KOALIB_READER", help="Name of the one reader who uses the page (default: each browser is a reader of its own).")] = "",
) -> None:
    """Open the reading room in the browser."""
    from koalib.clinic.grader import require_weights
    from koalib.clinic.serve import serve

    require_weights()  # a missing grader is said here, not in the page
    serve(port, ip, browser, keep_identity, reader)


# ---------------------------------------------------------------- notebooks


@app.command()
def notebooks(
    profile: Annotated[str, typer.Option(help="quick or full (default: KOALIB_PROFILE, else quick).")] = "",
    data: Data = "",
    only: Annotated[str, typer.Option(help="Number of the one notebook to execute, such as 03.")] = "",
    without_solutions: Annotated[bool, typer.Option("--without-solutions", help="The students' edition: places for answers instead of solutions.")] = False,
    parameter: Annotated[list[str], typer.Option("--parameter", "-p", help="NAME=VALUE of another parameter of the notebooks, such as seed=1.")] = [],  # noqa: B006
    renew: Annotated[bool, typer.Option("--renew", help="Execute in the quick profile and write normalised outputs back into notebooks/.")] = False,
) -> None:
    """Execute the notebooks into build/notebooks and build the site."""
    from koalib import notebooks as runner

    outcomes = runner.renew(only) if renew else runner.run(runner.parameters(profile, data, parameter), only, without_solutions)
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(1)


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
