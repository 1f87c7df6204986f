"""Every figure draws what it is given, names its data, and leaves matplotlib's settings alone."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from koalib.study import pictures, plots
from koalib.study.style import save, signed, spread

DATA = "phantom, 10 knees"
COUNTS = np.diag([5, 4, 3, 2, 1])
ROWS = pd.DataFrame([{"label": "a", "arm": "a", "value": 1.0, "low": 0.5, "high": 2.0}, {"label": "b", "arm": "b", "value": -1.0, "low": -2.0, "high": 1.0}])
CURVES = pd.DataFrame([{"arm": a, "run": r, "epoch": e, "seconds": 2.0 * e, "val_qwk": s * e / 3} for a, s in (("x", 0.9), ("y", 0.6)) for r in "12" for e in (1, 2, 3)])
CELLS = {name: {"value": 0.8, "low": 0.7, "high": 0.9} for name in ("neither", "gct", "wavelet", "both")}
FILMS, P = np.full((3, 32, 32), 128, np.uint8), np.full((3, 5), 0.2)
FIGURES = {
    "confusion": lambda: plots.confusion(COUNTS, DATA),
    "reliability": lambda: plots.reliability(pd.DataFrame({"predicted": [0.3, 0.7], "observed": [0.2, 0.8], "low": [0.1, 0.7], "high": [0.3, 0.9], "films": [4, 6]}), DATA),
    "learning_curves": lambda: plots.learning_curves(CURVES, DATA, goal=0.5),
    "waiting": lambda: plots.waiting({"x": (np.array([1.0, 2.0]), np.array([0.5, 0.0]))}, DATA),
    "forest": lambda: plots.forest(ROWS.assign(thesis=[2.4, np.nan]), DATA),
    "dots": lambda: plots.dots(pd.concat([ROWS, pd.DataFrame([{"arm": "c"}])]), DATA, thesis=0.9),
    "by_grade": lambda: plots.by_grade({"x": [CELLS["both"]] * 5, "y": [CELLS["both"]] * 5}, DATA, level=0.9),
    "lines": lambda: plots.lines(ROWS.assign(level=[0, 1], arm="x"), DATA),
    "two_by_two": lambda: plots.two_by_two(CELLS, DATA),
    "bars": lambda: plots.bars(pd.Series({"x": 1.0}), DATA),
    "heat_maps": lambda: pictures.heat_maps(FILMS, {"Grad-CAM": FILMS / 255}, DATA, outline=np.eye(32, dtype=bool)[None].repeat(3, 0)),
    "film_rows": lambda: pictures.film_rows({"a": FILMS, "b": FILMS[:1]}, DATA, names=["1"]),
    "prediction_sets": lambda: pictures.prediction_sets(P, np.ones((3, 5), bool), np.array([0, 1, 2]), DATA),
}


@pytest.fixture(autouse=True)
def no_window():
    matplotlib.use("Agg")
    yield
    plt.close("all")


def texts(figure):
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text)]


@pytest.mark.parametrize("name", FIGURES)
def test_figure_names_its_data_and_changes_no_setting(name, tmp_path):
    before = dict(plt.rcParams)
    figure = FIGURES[name]()
    assert f"Data: {DATA}" in texts(figure)
    assert dict(plt.rcParams) == before
    assert save(figure, tmp_path / "x.png").stat().st_size > 2_000


def test_confusion_shows_counts_and_recall():
    shown = texts(plots.confusion(np.array([[3, 1, 0, 0, 0], *np.zeros((4, 5), int)]), DATA))
    assert {"3", "75%", "25%"} <= set(shown)


def test_forest_marks_intervals_that_leave_out_zero():
    figure = plots.forest(ROWS, DATA)
    filled = [line.get_markerfacecolor() for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert filled == [plots.ARMS[0], "white"]
    assert "\N{MINUS SIGN}1.0 (\N{MINUS SIGN}2.0 to +1.0)" in texts(figure)


def test_learning_curve_marks_where_the_mean_reaches_the_goal():
    axes = plots.learning_curves(CURVES, DATA, goal=0.5).axes[0]
    marks = {line.get_markeredgecolor(): line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"}
    assert list(marks.values()) == [2, 3]


def test_not_run_is_said():
    assert "not run" in texts(FIGURES["dots"]())


def test_labels_are_moved_apart_in_order():
    moved = spread(np.array([0.5, 0.51, 0.1]), 0.2)
    assert np.diff(np.sort(moved)).min() > 0.199 and np.argsort(moved).tolist() == [2, 0, 1]


def test_signed_uses_a_true_minus():
    assert [signed(-1.25), signed(2.0)] == ["\N{MINUS SIGN}1.2", "+2.0"]
