"""Figures of films' statistics: phantom beside real set, as curves only."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from koalib.study.style import ARMS, canvas, finish, styled


@styled
def beside(curves: dict[str, dict], data: str, title: str = "") -> Figure:
    """Grey values, spectra and joint-space gaps of several data sets, from `koalib.data.compare.curves`."""
    figure, (grey, spectrum, gap) = canvas(9.2, 3.0, 1, 3)
    for k, (name, c) in enumerate(curves.items()):
        grey.plot(c["histogram"]["grey"], np.array(c["histogram"]["share"]) * 100, color=ARMS[k], label=name)
        spectrum.loglog(c["spectrum"]["cycles_per_film"], c["spectrum"]["power"], color=ARMS[k])
        grades = sorted(c["gap"])
        middle = np.array([c["gap"][g]["median"] for g in grades]) * 100
        reach = np.abs(np.array([[c["gap"][g][end] for g in grades] for end in ("low", "high")]) * 100 - middle)
        gap.errorbar(np.array(grades, int) + 0.16 * (k - 0.5), middle, yerr=reach, fmt="o", ms=5, color=ARMS[k], lw=1.4)
    grey.set(xlabel="grey value", ylabel="share of pixels (%)", title="grey values")
    spectrum.set(xlabel="cycles a film", ylabel="power", title="power spectrum")
    gap.set(xticks=range(5), xlabel="KL grade", ylabel="gap (% of the film)", title="narrower joint space", ylim=(0, None))
    figure.legend(loc="outside upper right", ncols=len(curves), fontsize=8.5)
    return finish(figure, title, data)
