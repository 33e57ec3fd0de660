"""Simulated light curves a second on one core, truth drawn and columns made, for each cadence."""

from pipeline.simulate.lightcurves import observe
from pipeline.simulate.sector import CADENCES
from pipeline.simulate.stars import draw_star, simulated_tic_id
from tests.benchmarks.figures import figure, heading, timed

STARS, SECTORS = 400, 13


def main() -> None:
    """Draw stars and observe them in many sectors, as training does."""
    heading("simulated light curves, curves a CPU second, one core")
    _simulate(20, 1800.0, "all")  # compiles
    for cadence_s in sorted(CADENCES, reverse=True):
        for columns in ("photometry", "all"):
            stars = STARS if cadence_s >= 120 else STARS // 10
            with timed() as timing:
                _simulate(stars, cadence_s, columns)
            rate = stars / timing.cpu
            asked = "≥ 200" if columns == "photometry" and cadence_s >= 120 else "-"
            met = rate >= 200 if asked != "-" else None
            figure(f"{cadence_s:g} s, {columns}", rate, asked, met, f"{1e3 / rate:.2f} ms a curve")


def _simulate(stars: int, cadence_s: float, columns: str) -> None:
    for index in range(stars):
        star = draw_star(simulated_tic_id(index, 1), 1)
        observe(star, 1 + index % SECTORS, 1, cadence_s, columns=columns)  # type: ignore[call-overload]
