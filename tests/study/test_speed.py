"""Targets are judged where they were set, in the faster type of numbers."""

from koalib.study import ledger, speed


def case(step: float, plain: float = 1.0) -> dict:
    over = {"forward_wall": 1.35, "step_wall": step, "peak": 1.5}
    return {"rivals": {"plain": {"step": {"wall": plain}}}, "over_plain": {"plain": {}, "reference wavelets": {**over, "step_wall": 3.0}, "wavelets and gates": over}}


def test_a_target_is_met_or_missed_in_the_faster_type_only() -> None:
    found = speed.table({"cases": {"tiny bf16": case(1.0, 0.5), "tiny fp32": case(1.0), "atto fp32": case(2.0)}})
    ours = found.loc["tiny bf16", "wavelets and gates"]
    assert ours.tolist() == ["1.35 (at most 1.30: missed)", "1.00 (at most 1.15: met)", "1.50 (at most 1.50: met)", "3.00 (at least 2.50: met)"]
    assert found.loc["tiny fp32", "wavelets and gates"].tolist() == ["1.35", "1.00", "1.50", "3.00"]
    assert found.loc["atto fp32", "wavelets and gates"].tolist() == ["1.35 (at most 1.30: missed)", "2.00", "1.50 (at most 1.50: met)", "1.50"]
    assert found.loc["tiny bf16", "reference wavelets"].tolist() == ["1.35", "3.00", "1.50", ""]


def test_the_record_has_every_case_that_a_target_is_set_for() -> None:
    rows = {f"{case.split()[0]} {rival}" for case, rival in speed.table(ledger.read_measurement("speed")).index}
    assert {name for name in speed.TARGETS if name.split()[0] in ("tiny", "lite0")} <= rows
