"""Print what `make bench` measures; each figure is a ratio against a reference of the same run.

python -m tests.benchmarks                            # all
python -m tests.benchmarks light_curves               # one
python -m tests.benchmarks differencing --fields 40   # one, at full size
python -m tests.benchmarks realbogus --fields 400     # the frozen set, whole
python -m tests.benchmarks stamps --fields 20480      # the same of stamps
"""

from argparse import ArgumentParser

from tests.benchmarks import (
    active,
    alerts,
    differencing,
    drift,
    ephemerides,
    fused,
    light_curves,
    poster,
    real_stars,
    realbogus,
    scoring,
    serving,
    simulation,
    stamp_limit,
    stamp_scoring,
    stamps,
)

PROGRAMS = {
    "light_curves": light_curves.main,
    "scoring": scoring.main,
    "serving": serving.main,
    "simulation": simulation.main,
    "ephemerides": ephemerides.main,
    "differencing": differencing.main,
    "realbogus": realbogus.main,
    "drift": drift.main,
    "alerts": alerts.main,
    "active": active.main,
    "stamps": stamps.main,
    "stamp_limit": stamp_limit.main,
    "stamp_scoring": stamp_scoring.main,
    "fused": fused.main,
    "poster": poster.main,
    "real_stars": real_stars.main,
}

if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PROGRAMS))
    parser.add_argument(
        "--fields",
        type=int,
        help="simulated fields of every condition, stacks or pairs of every survey, companions a star; default: few",
    )
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in PROGRAMS]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(PROGRAMS)}")
    for name in options.names or PROGRAMS:
        if (
            name in ("differencing", "fused", "poster", "realbogus", "stamps", "stamp_limit", "real_stars")
            and options.fields
        ):
            PROGRAMS[name](options.fields)
        else:
            PROGRAMS[name]()
