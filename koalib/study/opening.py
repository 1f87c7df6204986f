"""The openings of the official test: which runs a protocol opens, and when it may.

docs/protocol.md opens what was made under it, once; docs/protocol_grader.md the file that is shipped then, once more. There is no third.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from koalib.errors import UserError
from koalib.paths import PROTOCOL, SECOND_PROTOCOL
from koalib.study import ledger, shipped
from koalib.study.experiment import Experiment
from koalib.study.experiments import Study, find_study
from koalib.study.runner import progress


def unseal(name: str, protocol: Path = PROTOCOL, second: Path = SECOND_PROTOCOL) -> dict:
    """Open a study's test predictions once all runs of the protocol that can be made here are made: no choice is left that could see them.

    Where they were opened before the shipped grader was made, that file is opened, and the run whose weights it holds; nothing else.

    Raises:
        UserError: runs are missing, both protocols have opened what they open; or see `ledger.unseal`.
    """
    study, openings = find_study(name), ledger.openings(name)
    later = _part(study, second=True)
    of_later = _runs_of(later)
    if not openings:
        _check_whole(_part(study, second=False))
        return ledger.unseal(name, protocol, [run["name"] for run in ledger.read_runs(name) if run["name"] not in of_later])
    record = shipped.shipped_record() if name == shipped.STUDY else None
    if record is None or ledger.opened(name, record["name"]):
        return openings[-1]
    if len(openings) > 1 or record["name"] not in of_later:
        raise UserError(f"{shipped.GRADER.name}: its test stays closed; {protocol.name} and {second.name} open the official test once each and have done so, "
                        "or do not open this file. Judge it on validation films")
    _check_whole(later)
    return ledger.unseal(name, second, [record["name"], *record["shipped_from"].split(" + ")])


def _part(study: Study, second: bool) -> Study:
    """The panels of a study that one of the protocols is about."""
    return replace(study, panels=tuple(panel for panel in study.panels if panel.second == second), first=() if second else study.first)


def _runs_of(part: Study) -> set[str]:
    """The recorded runs of these panels' arms, and the files that are made from one of them."""
    runs = ledger.read_runs(part.name)
    own = {run["name"] for run in runs if _belongs(part, run)}
    return own | {run["name"] for run in runs if own & set(run.get("shipped_from", "").split(" + "))}


def _belongs(part: Study, run: dict) -> bool:
    """Whether a run, finished or failed, is one that arms start from, or of an arm."""
    experiment = Experiment.from_dict(run["experiment"])
    return any(arm.is_of(experiment) for arm in part.arms) or (experiment.model, experiment.variant) in {(first.model, first.variant) for first in part.first}


def _check_whole(part: Study) -> None:
    done, planned, blocked = progress(part)
    lost = sum(failed["repeated_with_seed"] is None and _belongs(part, failed) for failed in ledger.read_failures(part.name))  # failed twice, recorded as such
    if (missing := planned - done - blocked - lost) > 0:
        raise UserError(f"{part.name}: {missing} of {planned} runs are not recorded; finish them before the test is opened: koalib study run {part.name}")
