"""Executes the notebooks, checked and measured, and renews the outputs that are committed.

papermill alone stays green where it should not: a mistyped parameter is only a warning, and a cell that calls
``sys.exit(0)`` ends the run with success and the rest unexecuted. Both count as failures here.
"""

from __future__ import annotations

import ast
import base64
import io
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
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
AT_ONCE = {"quick": 2, "full": 1}  #: notebooks executed at a time: tiny networks, figures and imports leave a second core idle, real trainings do not
LONGEST = "05"  #: number of the notebook that is begun first where several run at once: begun last, it would run on alone
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


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def kernel_environment(at_once: int = 1) -> dict[str, str]:
    """Variables that every kernel gets, so that a notebook does not depend on whose machine it runs on.

    A fixed hash seed; an equal share of the cores for linear algebra unless the user says otherwise; this environment's
    kernel before any that the user registered; no start-up files of the user's IPython; no progress bars in the outputs.
    """
    return {
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(_cores() // at_once)),
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
                store_widget_state=False, extra_arguments=["--log-level=CRITICAL"],  # a kernel that is interrupted on its way out calls that an error
            )
            error = unfinished(done)
        except PapermillExecutionError as failure:
            error = f"cell [{failure.exec_count}] {failure.ename}: {failure.evalue}".strip()
        except Exception as failure:  # a kernel that died, a cell over its limit, a broken file: the others still run
            error = f"{type(failure).__name__}: {failure}".strip().splitlines()[0]
    return Outcome(path.stem, out, time.perf_counter() - started, memory.peak_mb, error)


def execute_all(paths: Sequence[Path], target: Path, parameters: dict, students: bool = False) -> Iterator[Outcome]:
    """Execute notebooks into a folder, as many at once as the profile and the cores allow; each outcome as it comes.

    Every notebook has a process of its own to be measured in where several run.
    """
    profile = parameters.get("profile") or "quick"
    at_once = min(AT_ONCE.get(profile, 1), _cores(), len(paths))
    os.environ.update(kernel_environment(at_once))
    target.mkdir(parents=True, exist_ok=True)
    more = parameters, students, CELL_LIMIT.get(profile)
    if at_once == 1:
        yield from (execute(path, target / path.name, *more) for path in paths)
        return
    pool = ProcessPoolExecutor(at_once, multiprocessing.get_context("spawn"))
    try:
        in_turn = sorted(paths, key=lambda path: not path.name.startswith(LONGEST))
        running = {pool.submit(execute, path, target / path.name, *more): path for path in in_turn}
        pool.submit(os.getpid)  # wakes the pool's watcher, which else may never have heard of the process that was started last, nor of its end
        for done in as_completed(running):
            try:
                yield done.result()
            except BrokenProcessPool:  # killed from outside, by a machine out of memory for one
                yield Outcome(running[done].stem, target / running[done].name, 0.0, 0.0, "its process was killed; is there memory enough?")
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def run(parameters: dict, only: str = "", students: bool = False) -> list[Outcome]:
    """Execute notebooks into ``build/notebooks``, build the site, print a line for each; failures do not stop the rest.

    Args:
        parameters: for the ``parameters`` cell of every notebook; ``profile`` also sets how many run at once and the limit of a cell.

    Raises:
        UserError: there is nothing to run.
    """
    from koalib.site import build_site

    paths, started, outcomes = find(only), time.perf_counter(), []
    print(f"{'notebook':<32}{'seconds':>9}{'peak MB':>9}", flush=True)
    for outcome in execute_all(paths, BUILD / "notebooks", parameters, students):
        outcomes.append(outcome)
        print(f"{outcome.name:<32}{outcome.seconds:>9.1f}{outcome.peak_mb:>9.0f}  {'FAILED: ' + outcome.error if outcome.error else 'ok'}", flush=True)
    outcomes.sort(key=lambda outcome: outcome.name)
    failed = sum(bool(outcome.error) for outcome in outcomes)
    index = build_site(outcomes, BUILD / "site")
    print(f"{len(outcomes)} notebooks in {time.perf_counter() - started:.0f} s, {failed} failed | {index}", flush=True)
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
    for name in ("KOALIB_PROFILE", "KOALIB_DATA"):
        os.environ.pop(name, None)
    paths, outcomes = find(only), []
    for outcome in execute_all(paths, BUILD / "renewed", {}):
        outcomes.append(outcome)
        if not outcome.error:
            atomic_write(NOTEBOOKS / outcome.path.name, normalise(nbformat.read(outcome.path, as_version=4)))
        print(f"{outcome.name:<32}{outcome.seconds:>9.1f}{outcome.peak_mb:>9.0f}  {outcome.error or 'renewed'}", flush=True)
    return outcomes
