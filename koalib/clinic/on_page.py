"""A grader for the notebook: the shipped one, or a small one trained on the page's phantoms."""

from __future__ import annotations

import numpy as np

from koalib.clinic.grader import Grader, shipped_weights
from koalib.profiles import Session
from koalib.study import page
from koalib.study.calibration import fit_temperature, temper
from koalib.study.conformal import fit_conformal


def grader_for(study: Session) -> tuple[Grader, str]:
    """The grader, and what to call it below a figure."""
    if shipped_weights().is_file():
        return Grader.load(), "the shipped grader"
    experiment = page.small_experiment(study, epochs=3)
    run = page.train_here(experiment, study)
    temperature = fit_temperature(np.log(run.p.clip(1e-9)), run.grade)
    # Fitted on the films it is shown on: good enough to learn the page, not to quote a coverage.
    decision = {"temperature": temperature, "conformal": fit_conformal(temper(run.p, temperature), run.grade)}
    return Grader(run.model, {"model": experiment.model, "size": experiment.size, "decision": decision}, "trained on this page"), "a small grader trained on this page"
