"""Print what `make bench` measures; each figure is a ratio against a reference of the same run.

python -m tests.benchmarks                            # all
python -m tests.benchmarks light_curves               # one
python -m tests.benchmarks differencing --fields 40   # one, at full size
"""

from argparse import ArgumentParser

from tests.benchmarks import differencing, ephemerides, light_curves, scoring, serving, simulation

PROGRAMS = {
    "light_curves": light_curves.main,
    "scoring": scoring.main,
    "serving": serving.main,
    "simulation": simulation.main,
    "ephemerides": ephemerides.main,
    "differencing": differencing.main,
}

if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PROGRAMS))
    parser.add_argument("--fields", type=int, default=differencing.FEW, help="simulated fields of every condition")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in PROGRAMS]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(PROGRAMS)}")
    for name in options.names or PROGRAMS:
        if name == "differencing":
            differencing.main(options.fields)
        else:
            PROGRAMS[name]()
