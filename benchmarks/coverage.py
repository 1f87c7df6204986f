"""How often a 95 % interval of a difference holds the true one: two equal arms, simulated again and again.

    python -m benchmarks.coverage

Correctness of a film comes from a latent score with a part of the patient, of the film, of the arm on that film, of
the seed on that film (flips) and of the seed as a whole. Beside the interval of `koalib.study.stats` stand the two
that are usually seen: one seed with patients resampled, and the mean over seeds with films resampled as if independent.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from koalib.study import stats
from koalib.study.ledger import record_measurement

PATIENTS, RESAMPLES, REPEATS, ACCURACY = 200, 400, 200, 0.7


def arms(seeds: int, seed_sd: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two arms of the same accuracy as probabilities (S, N, 5) of grade 0 (right) or 1 (wrong), and the patients (N,)."""
    cut, films = norm.ppf(ACCURACY), 2 * PATIENTS

    def paired(patient_share: float) -> np.ndarray:
        by_patient = np.repeat(rng.normal(size=PATIENTS), 2)
        return np.sqrt(patient_share) * by_patient + np.sqrt(1 - patient_share) * rng.normal(size=films)

    difficulty, found = paired(0.4), []
    for _ in range(2):
        latent = np.sqrt(0.75) * difficulty + np.sqrt(0.08) * paired(0.5) + np.sqrt(0.17) * rng.normal(size=(seeds, films))
        right = latent < cut + rng.normal(0, seed_sd, (seeds, 1)) / norm.pdf(cut)
        found.append(np.eye(5)[np.where(right, 0, 1)])
    return *found, np.repeat(np.arange(PATIENTS), 2)


def coverage(seeds: int, seed_sd: float, rng: np.random.Generator) -> dict[str, float]:
    """Share of repeats whose interval holds the true difference, 0, for each way of making it; and ours' mean width."""
    held, width, grade = np.zeros(3), 0.0, np.zeros(2 * PATIENTS, dtype=int)
    for i in range(REPEATS):
        a, b, patient = arms(seeds, seed_sd, rng)
        ours = stats.paired_difference(grade, a, b, patient, n=RESAMPLES, seed=i)["accuracy"]
        one = stats.paired_difference(grade, a[0], b[0], patient, n=RESAMPLES, seed=i)["accuracy"]
        gain = (a[..., 0] - b[..., 0]).mean(axis=0)
        half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
        held += [ours.low <= 0 <= ours.high, one.low <= 0 <= one.high, abs(gain.mean()) <= half]
        width += (ours.high - ours.low) / REPEATS
    return dict(zip(("patients_and_seeds", "one_seed", "films_as_if_independent"), (held / REPEATS).round(3).tolist(), strict=True)) | {"width": round(width, 4)}


def main() -> None:
    """Print and record the coverage for 2, 3, 5 seeds and three sizes of the seed's own effect."""
    rng, table = np.random.default_rng(0), []
    for seed_sd in (0.0, 0.01, 0.03):
        for seeds in (2, 3, 5):
            table.append({"seed_sd": seed_sd, "seeds": seeds} | coverage(seeds, seed_sd, rng))
            print(table[-1], flush=True)
    record_measurement("coverage", {"patients": PATIENTS, "films": 2 * PATIENTS, "resamples": RESAMPLES, "repeats": REPEATS, "rows": table})


if __name__ == "__main__":
    main()
