"""A reading in words: the lines that screen, web page and PDF share, in one language."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from koalib.clinic.diagnosis import SET_COVERAGE, Diagnosis
from koalib.clinic.records import Case
from koalib.clinic.texts import remark, text

GRADE_COLOURS = ("#2f8f83", "#7d9b3c", "#d9a11e", "#d4702a", "#b3322e")  #: always beside the number, never alone


@dataclass(frozen=True)
class Bar:
    """One grade's probability."""

    grade: int
    name: str
    share: float
    percent: str
    in_set: bool
    top: bool
    colour: str


def percent(share: float) -> str:
    """A probability for the eye; never 0 % or 100 %, which it is not."""
    if share < 0.005:
        return "< 1 %"
    return "> 99 %" if share > 0.995 else f"{100 * share:.0f} %"


def bars(d: Diagnosis, language: str) -> list[Bar]:
    """The five probabilities, grade 0 first."""
    return [Bar(g, text(f"grade_{g}", language), p, percent(p), g in d.prediction_set, g == d.grade, GRADE_COLOURS[g]) for g, p in enumerate(d.probabilities)]


def kl(grade: int | None, language: str) -> str:
    """``KL 2``; a dash where there is no grade."""
    return "\u2013" if grade is None else text("kl", language, grade=grade)


def set_words(d: Diagnosis, language: str) -> str:
    """The prediction set: ``KL 1-3``, or its one grade."""
    low, high = d.prediction_set[0], d.prediction_set[-1]
    return kl(low, language) if low == high else text("kl", language, grade=f"{low}\u2013{high}")


def coverage() -> str:
    """The sets' nominal coverage."""
    return f"{100 * SET_COVERAGE:.0f} %"


def refer_words(d: Diagnosis, language: str) -> str:
    """Refer or not, and why."""
    if not d.refer:
        return text("refer_no", language)
    why = "; ".join(text(reason, language) for reason in d.reasons)
    return f"{text('refer', language)}: {why}"


def quality_words(d: Diagnosis, language: str) -> str:
    """The quality remarks in one line."""
    return "; ".join(remark(code, language) for code in d.remarks) or text("remarks_none", language)


def joint_space_words(d: Diagnosis, language: str) -> tuple[str, str]:
    """The measure and what it may not be taken for."""
    space = d.joint_width
    if space is None:
        return text("joint_space_none", language), ""
    width = f"{space.width:.1f} mm" if space.unit == "mm" else f"{100 * space.width:.1f} %"
    return text(f"joint_space_{space.compartment}", language, width=width), text("joint_space_mm" if space.unit == "mm" else "joint_space_share", language)


def side_words(d: Diagnosis, language: str) -> str:
    """Left, right or not known."""
    return text(d.side or "side_unknown", language)


def earlier_words(case: Case, earlier: Case | None, language: str) -> str:
    """The earlier film of the same knee and what changed; empty where there is none."""
    if earlier is None or earlier.final_grade is None:
        return ""
    line = text("earlier_line", language, date=earlier.day, grade=earlier.final_grade)
    if case.final_grade is None:
        return line
    change = case.final_grade - earlier.final_grade
    return f"{line}, {text('change_by', language, change=change) if change else text('change_none', language)}"


def decision_words(case: Case, language: str) -> str:
    """The reader's word with its grade and reason."""
    if not case.action:
        return text("reader_pending", language)
    words = text(case.status, language)
    if case.action == "change":
        words += f": {kl(case.diagnosis.grade, language)} \u2192 {kl(case.reader_grade, language)}"
    return f"{words} ({case.reason})" if case.reason else words


def facts(case: Case, earlier: Case | None, language: str) -> list[tuple[str, str, str]]:
    """Label, value and footnote of everything that is not the grade itself."""
    d = case.diagnosis
    space, footnote = joint_space_words(d, language)
    rows = [
        ("oa_short", f"{text('yes' if d.oa else 'no', language)}, {percent(d.oa_probability)}", ""),
        ("side", side_words(d, language), ""),
        ("joint_space", space, footnote),
        ("remarks", quality_words(d, language), ""),
        ("earlier", earlier_words(case, earlier, language), ""),
    ]
    return [(text(key, language), value, note) for key, value, note in rows if value]


@cache
def templates() -> Environment:
    """The page's templates; everything put into them is escaped."""
    return Environment(loader=FileSystemLoader(Path(__file__).parent / "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def render(name: str, case: Case, earlier: Case | None, language: str, **more: object) -> str:
    """A template filled with a case."""
    def t(key: str, **values: object) -> str:
        return text(key, language, **values)

    d = case.diagnosis
    return templates().get_template(name).render(
        t=t, language=language, case=case, d=d, bars=bars(d, language), facts=facts(case, earlier, language), kl=kl(d.grade, language),
        grade_name=t(f"grade_{d.grade}"), colour=GRADE_COLOURS[d.grade], set_words=set_words(d, language), coverage=coverage(),
        refer_words=refer_words(d, language), decision=decision_words(case, language), percent=percent, side=side_words(d, language), **more)
