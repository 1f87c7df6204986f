"""Real films, read as the clinic reads them: nearly all pass for knees."""

import numpy as np
import pytest

from koalib.clinic.novelty import shipped
from koalib.data.images import read_knee
from koalib.data.knees import find_knees
from koalib.data.public import listing
from koalib.data.sources import open_source


@pytest.mark.real
@pytest.mark.parametrize("name", ["chen2018", "gornale2020"])
def test_real_films_are_not_turned_away(name: str) -> None:
    novelty, (_, where, root) = shipped(), listing(name, None)
    some = [where[i] for i in np.random.default_rng(0).choice(len(where), 80, replace=False)]
    with open_source(root) as source:
        scores = [novelty.strangeness(find_knees(read_knee(source.read(path), name=path))).min() for path in some]
    assert np.mean(np.array(scores) > novelty.reject) <= 0.05
