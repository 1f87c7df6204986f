"""The front picture shows a film of every grade that nobody picked."""

from __future__ import annotations

import matplotlib.pyplot as plt

from koalib.data.phantom import make_phantoms
from koalib.study.front import phantom_grades, typical


def test_typical_films_are_the_median_of_each_grade_and_upright():
    phantoms = make_phantoms(80, size=64, seed=3)
    table = phantoms.table
    narrowest = table[["medial_jsw_mm", "lateral_jsw_mm"]].min(axis=1)
    rows = typical(phantoms)
    assert list(table["grade"][rows]) == [0, 1, 2, 3, 4]
    for row in rows:
        same = (table["grade"] == table["grade"][row]) & ~table["inverted"]
        below, above = (narrowest[same] < narrowest[row]).sum(), (narrowest[same] > narrowest[row]).sum()
        assert not table["inverted"][row] and abs(below - above) <= 1


def test_the_picture_has_two_rows_of_five_and_names_its_data():
    figure = phantom_grades(n_patients=60, size=64)
    assert len(figure.axes) == 10
    assert [cell.get_title()[0] for cell in figure.axes[:5]] == list("01234")
    assert "phantom, 60 patients, seed 0" in figure._supxlabel.get_text()
    plt.close(figure)
