"""Print what `make bench` measures; each figure is a ratio against a reference of the same run.

python -m tests.benchmarks                  # all
python -m tests.benchmarks light_curves     # one
"""

import sys

from tests.benchmarks import ephemerides, light_curves, scoring, simulation

PROGRAMS = {
    "light_curves": light_curves.main,
    "scoring": scoring.main,
    "simulation": simulation.main,
    "ephemerides": ephemerides.main,
}

if __name__ == "__main__":
    wanted = sys.argv[1:] or list(PROGRAMS)
    if unknown := [name for name in wanted if name not in PROGRAMS]:
        sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join(PROGRAMS)}")
    for name in wanted:
        PROGRAMS[name]()
