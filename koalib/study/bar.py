"""The progress bar of a training: loss, validation QWK, films a second, time left of the whole run."""

from __future__ import annotations

import os

from tqdm.auto import tqdm
from tqdm.notebook import tqdm as notebook_tqdm

from koalib.study.checkpoint import Progress
from koalib.study.experiment import Experiment

EXECUTED = "TQDM_DISABLE"  #: set where notebooks are executed for their outputs, in which no bar belongs


class TrainingBar:
    """One bar for the run. It vanishes at the end, and steps aside for lines that are printed.

    Args:
        shown: None shows it on a terminal and in a notebook that somebody has open, not in logs or executed notebooks.
    """

    def __init__(self, experiment: Experiment, progress: Progress, steps: int, batch: int, shown: bool | None):
        self.epochs, self.progress = experiment.epochs, progress
        self.bar = tqdm(total=experiment.epochs * steps, initial=progress.epoch * steps + progress.step, unit=" films", unit_scale=batch,
                        leave=False, dynamic_ncols=True, disable=_hidden(shown))

    def step(self) -> None:
        """Show that one more step is done."""
        progress = self.progress
        qwk = progress.curve[-1]["val_qwk"] if progress.curve else None
        kappa = "" if qwk is None else f", QWK={qwk:.3f}"
        self.bar.set_description(f"epoch {progress.epoch + 1}/{self.epochs}", refresh=False)
        self.bar.set_postfix_str(f"loss={progress.loss_sum / progress.step:.3f}{kappa}", refresh=False)
        self.bar.update()

    def clear(self) -> None:
        """Make room for a line; the next step draws the bar below it."""
        self.bar.clear()

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()


def _hidden(shown: bool | None) -> bool | None:
    if shown is not None:
        return not shown
    return EXECUTED in os.environ if issubclass(tqdm, notebook_tqdm) else None  # None: tqdm looks for a terminal
