"""Executes the notebooks in order, checked and measured, and renews the outputs that are committed.

papermill alone stays green where it should not: a mistyped parameter is only a warning, and a cell that calls
``sys.exit(0)`` ends the run with success and the rest unexecuted. Both count as failures here.
"""

from __future__ import annotations

import ast
import base64
import io
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
import psutil
from nbformat import NotebookNode
from nbstripout import strip_output
from papermill.exceptions import PapermillExecutionError
from PIL import Image

from koalib.errors import UserError
from koalib.paths import ROOT, atomic_write, cache_dir, data_dir

NOTEBOOKS = ROOT / "notebooks"
BUILD = ROOT / "build"
KERNEL = "python3"
SOLUTION = "solution"  #: tag of a cell that answers an exercise
CELL_LIMIT = {"quick": 600, "full": None}  #: seconds a single cell may take; a hung one must not hang the run
VOLATILE = ["metadata.papermill", "metadata.widgets", "metadata.language_info.version", "cell.metadata.papermill", "cell.metadata.execution"]

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"  # names a live object by a random id: nothing to a reader


@dataclass(frozen=True)
class Outcome:
    """One executed notebook: what it took and, when it failed, why."""

    name: str
    path: Path
    seconds: float
    peak_mb: float
    error: str = ""


class PeakMemory:
    """Samples the resident memory of this process's children (kernels and what they start) in a ``with`` block.

    ``peak_mb`` is the largest sum seen, in MiB; pages shared between processes count once for each.
    """

    def __init__(self, interval: float = 0.1) -> None:
        self.interval, self.peak_mb = interval, 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        this = psutil.Process()
        while not self._stop.wait(self.interval):
            self.peak_mb = max(self.peak_mb, sum(map(_resident, this.children(recursive=True))) / 2**20)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # it ended between listing and asking
        return 0


def kernel_environment() -> dict[str, str]:
    """Variables that every kernel gets, so that a notebook does not depend on whose machine it runs on.

    A fixed hash seed; all cores for kernels of linear algebra unless the user says otherwise; this environment's
    kernel before any that the user registered; no start-up files of the user's IPython; no progress bars in the outputs.
    """
    cores = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    return {
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", cores),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "IPYTHONDIR": str(cache_dir() / "ipython"),
        "MPLCONFIGDIR": str(cache_dir() / "matplotlib"),
        "TQDM_DISABLE": "1",
    }


def parameters(profile: str = "", data: str = "", extra: Sequence[str] = ()) -> dict:
    """What every notebook is given: profile, data folder, and ``NAME=VALUE`` pairs (Python literals, else text).

    Raises:
        UserError: no such profile or folder, a folder that the profile would not read, or a pair without ``=``.
    """
    from koalib.profiles import PROFILES

    profile = profile or os.environ.get("KOALIB_PROFILE") or "quick"
    if profile not in PROFILES:
        raise UserError(f"profile {profile!r}: choose one of {', '.join(PROFILES)}")
    folder = data_dir(data) if data or profile == "full" else None
    if data and profile != "full":
        raise UserError(f"--data {data}: the profile {profile} reads no films; add --profile full")
    given = {"profile": profile, "data": str(folder or "")}
    for pair in extra:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"--parameter {pair}: write it as NAME=VALUE")
        try:
            given[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            given[name] = value
    return given


def find(only: str = "") -> list[Path]:
    """Notebooks ``NN_topic.ipynb`` in order, or the one whose number is ``only`` (``3`` and ``03`` alike).

    Raises:
        UserError: there is none, or none of that number.
    """
    found = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise UserError(f"{NOTEBOOKS}: holds no notebook NN_topic.ipynb; is this a complete checkout?")
    chosen = [path for path in found if not only or path.name.startswith(f"{only.zfill(2)}_")]
    if not chosen:
        raise UserError(f"--only {only}: no such notebook; there are {', '.join(path.name[:2] for path in found)}")
    return chosen


def _refuse_unknown(path: Path, parameters: dict) -> None:
    """papermill passes a name that the ``parameters`` cell does not define in vain, with a warning at most."""
    unknown = sorted(set(parameters) - set(papermill.inspect_notebook(str(path))))
    if unknown:
        raise UserError(f"its parameters cell does not define {', '.join(unknown)}")


def unfinished(notebook: NotebookNode) -> str:
    """Why an executed notebook is not complete, or nothing: a cell that left early or was never reached."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    left = [cell for cell in code if any(o.output_type == "error" and o.ename == "SystemExit" for o in cell.outputs)]
    unrun = sum(cell.execution_count is None for cell in code)
    if left:
        return f"cell [{left[0].execution_count}] left early by sys.exit; {unrun} code cells never ran"
    return f"{unrun} code cells never ran" if unrun else ""


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """The students' edition: each solution gives way to an empty place for one's own."""
    for cell in notebook.cells:
        if SOLUTION in cell.metadata.get("tags", []):
            cell.source = "# your turn" if cell.cell_type == "code" else "*Your turn.*"
            cell.metadata.pop("jupyter", None)
            if cell.cell_type == "code":
                cell.outputs = []
    return notebook


def execute(path: Path, out: Path, parameters: dict, students: bool = False, cell_limit: int | None = None) -> Outcome:
    """Execute one notebook into ``out`` (written cell by cell, so a failed one can be read up to its failure)."""
    out.unlink(missing_ok=True)
    started, error = time.perf_counter(), ""
    with PeakMemory() as memory:
        try:
            notebook = nbformat.read(path, as_version=4)
            _refuse_unknown(path, parameters)
            done = papermill.execute_notebook(
                without_solutions(notebook) if students else notebook, str(out), parameters,
                kernel_name=KERNEL, cwd=str(out.parent), progress_bar=False, start_timeout=300, timeout=cell_limit,
                store_widget_state=False, extra_arguments=["--log-level=ERROR"],
            )
            error = unfinished(done)
        except PapermillExecutionError as failure:
            error = f"cell [{failure.exec_count}] {failure.ename}: {failure.evalue}".strip()
        except Exception as failure:  # a kernel that died, a cell over its limit, a broken file: the others still run
            error = f"{type(failure).__name__}: {failure}".strip().splitlines()[0]
    return Outcome(path.stem, out, time.perf_counter() - started, memory.peak_mb, error)


def run(parameters: dict, only: str = "", students: bool = False) -> list[Outcome]:
    """Execute notebooks into ``build/notebooks``, build the site, print a line for each; failures do not stop the rest.

    Args:
        parameters: for the ``parameters`` cell of every notebook; ``profile`` also sets the limit of a cell.

    Raises:
        UserError: there is nothing to run.
    """
    from koalib.site import build_site

    os.environ.update(kernel_environment())
    paths, target = find(only), BUILD / "notebooks"
    target.mkdir(parents=True, exist_ok=True)
    limit = CELL_LIMIT.get(parameters.get("profile") or "quick")
    print(f"{'notebook':<32}{'seconds':>9}{'peak MB':>9}", flush=True)
    outcomes = []
    for path in paths:
        outcome = execute(path, target / path.name, parameters, students, limit)
        outcomes.append(outcome)
        print(f"{outcome.name:<32}{outcome.seconds:>9.1f}{outcome.peak_mb:>9.0f}  {'FAILED: ' + outcome.error if outcome.error else 'ok'}", flush=True)
    failed = sum(bool(outcome.error) for outcome in outcomes)
    index = build_site(outcomes, BUILD / "site")
    print(f"{len(outcomes)} notebooks in {sum(o.seconds for o in outcomes):.0f} s, {failed} failed | {index}", flush=True)
    return outcomes


def _small(picture: str) -> str:
    """A PNG (base64) with a palette of 96 colours, a third of the bytes; one that has a palette already stays as it is."""
    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    if image.mode == "P":
        return picture
    small = io.BytesIO()
    image.convert("RGB").quantize(96, Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def normalise(notebook: NotebookNode) -> str:
    """Text of a notebook that is the same after every identical run: outputs and counts stay, times and states go."""
    strip_output(notebook, keep_output=True, keep_count=True, keep_id=False, extra_keys=VOLATILE)
    for cell in notebook.cells:
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
        for output in cell.get("outputs", []):
            shown = output.get("data", {})
            shown.pop(WIDGET_VIEW, None)
            if "image/png" in shown:
                shown["image/png"] = _small(shown["image/png"])
    notebook.metadata.kernelspec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": KERNEL}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return nbformat.writes(notebook) + "\n"


def renew(only: str = "") -> list[Outcome]:
    """Execute with the notebooks' own parameters (quick, no data) and write the normalised outputs back where all went well."""
    os.environ.update(kernel_environment())
    for name in ("KOALIB_PROFILE", "KOALIB_DATA"):
        os.environ.pop(name, None)
    target = BUILD / "renewed"
    target.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for path in find(only):
        outcome = execute(path, target / path.name, {}, cell_limit=CELL_LIMIT["quick"])
        outcomes.append(outcome)
        if not outcome.error:
            atomic_write(path, normalise(nbformat.read(outcome.path, as_version=4)))
        print(f"{outcome.name:<32}{outcome.seconds:>9.1f}{outcome.peak_mb:>9.0f}  {outcome.error or 'renewed'}", flush=True)
    return outcomes
