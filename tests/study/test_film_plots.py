"""The figure of two sets of films side by side draws every curve it is given."""

import numpy as np
import pytest

from koalib.data.compare import curves
from koalib.data.phantom import make_phantoms
from koalib.study.film_plots import beside


@pytest.fixture(scope="module")
def sets():
    phantoms = make_phantoms(30, size=96, seed=3)
    return {"these": curves(phantoms.pixels, phantoms.table), "those": curves(255 - phantoms.pixels, phantoms.table)}


def test_every_curve_is_drawn(sets):
    figure = beside(sets, "phantom, 60 films", "Side by side")
    grey, spectrum, gap = figure.axes
    for line, found in zip(grey.lines, sets.values(), strict=True):
        assert line.get_ydata() == pytest.approx(100 * np.array(found["histogram"]["share"]))
    for line, found in zip(spectrum.lines, sets.values(), strict=True):
        assert list(line.get_ydata()) == found["spectrum"]["power"]
    assert (spectrum.get_xscale(), spectrum.get_yscale()) == ("log", "log")
    for bars, found in zip(gap.containers, sets.values(), strict=True):
        assert bars.lines[0].get_ydata() == pytest.approx([100 * at["median"] for at in found["gap"].values()])


def test_sets_are_named_and_told_apart(sets):
    figure = beside(sets, "phantom, 60 films", "Side by side")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["these", "those"]
    for axes in figure.axes[:2]:
        first, second = axes.lines
        assert first.get_color() != second.get_color()
    words = " ".join(text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text")))
    assert "phantom, 60 films" in words and "Side by side" in words


def test_a_grade_without_films_leaves_its_place_empty(sets):
    fewer = {name: {**found, "gap": {grade: at for grade, at in found["gap"].items() if grade != "1"}} for name, found in sets.items()}
    points = beside(fewer, "phantom", "").axes[2].containers[0].lines[0].get_xdata()
    assert not ((points > 0.6) & (points < 1.4)).any() and points.max() > 3.5
