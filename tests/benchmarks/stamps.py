"""Double or single on the frozen benchmark of stamps: our network, the poster's if it was trained, the classical fit.

python -m tests.benchmarks stamps                  # a few stacks a survey, minutes
python -m tests.benchmarks stamps --fields 20480   # all of them; SKYSIFT_BENCHMARK=FOLDER keeps what is made

Stacks are those of stamps.toml, which no model has learnt from: every pair counts, however faint its companion. What is
not double is nearly all hard: neighbours just outside 2.5 arcsec, galaxies, artefacts, filters that do not lie on each
other. Intervals by drawing both anew.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.folder import Folder
from models.evaluate import metrics
from models.registry import Entry, Registry
from models.runtime import Predictor
from models.spec import get_spec
from models.visual_judgement import judge, report
from models.visual_lessons import read_index
from models.visual_rates import FALSE, at_false, framed
from models.visual_standing import VisualStanding
from pipeline import stores
from pipeline.errors import ModelNotFound
from pipeline.settings import StampSetSettings
from pipeline.simulate.stamp_odds import stamp_of
from pipeline.simulate.stamps import described, drawn, filters_of
from pipeline.stamps import surveys
from pipeline.stamps.light import Plane
from pipeline.stamps.measure import measure
from pipeline.stamps.measures import psfs_of
from pipeline.stamps.stack import stack_source
from pipeline.stamps.training import StampSet
from tests.benchmarks.figures import figure, heading, timed
from tests.benchmarks.sets import complete, kept

FEW = 512
FITS = 256  # stacks a survey that are fitted
DESCRIPTION = Path(__file__).with_name("stamps.toml")

#: Completeness asked at 1% false positives.
ASKED = {"Pan-STARRS": 0.65, "SDSS": 0.50, "DECaLS": 0.58, "HSCLA": 0.65, "HST": 0.75, "JWST": 0.70}

_EASY = 0.90

#: What of a pair is measured, and by how much it may be off, arcsec and magnitudes; least number of pairs.
PAIR, FEWEST = {"sep_arcsec": 0.03, "delta_mag": 0.1}, 10

#: What else fits say (`pipeline.stamps.measure.Measure`), however sure they are.
FIT = ("delta_chi2", "delta_chi2_extended", "snr_1", "width", "p_fit")


def made(workspace: Folder, stacks: int) -> StampSet:
    """Make the stacks, as far as they are not there."""
    stage = StampSet(workspace, StampSetSettings(stacks=stacks, seed=None, description=str(DESCRIPTION)))
    complete(stage)
    return stage


def _models(workspace: Folder) -> list[Entry]:
    found = []
    for name in ("visualbinary", "poster"):
        for alias in ("production", "candidate"):
            try:
                found.append(Registry(workspace).resolve(f"{name}@{alias}"))
                break
            except ModelNotFound as error:
                print(f"{name}@{alias}: not here ({error})")
    return found


def scored(workspace: Folder, entry: Entry, index: pd.DataFrame) -> pd.DataFrame:
    """Return the index with what a model says of each stack; print how fast it was."""
    spec = get_spec(entry.name)
    predictor = Predictor(spec, Registry(workspace).load_weights(entry))
    columns = []
    with timed() as spent:
        for _, rows in index.groupby(["path", "part"], sort=False):
            known = rows[list(spec.columns)].to_numpy(float)
            columns.append(pd.DataFrame(predictor.columns(_stacks(workspace, rows), known), rows.index))
    figure(f"{entry.id}: stacks a CPU-second, from the store", len(index) / spent.cpu, ">= 105", None,
           f"{predictor.runtime} {predictor.precision}")  # fmt: skip
    return index.join(pd.concat(columns))


def _stacks(workspace: Folder, rows: pd.DataFrame) -> NDArray[np.float32]:
    first, last = int(rows["row"].iloc[0]), int(rows["row"].iloc[-1])
    read = stores.read(workspace, str(rows["path"].iloc[0]), ["stack"], slice(first, last + 1))["stack"]
    return read[rows["row"].to_numpy() - first]


def fitted(rows: pd.DataFrame, description: Path | None = DESCRIPTION) -> pd.DataFrame:
    """Return what `measure_stamps` says of the filters of each stack of a survey: `FIT`, the pair, and gain.

    That is the less of what χ² gains by two stars over one, and over an extended one; NaN where there is no fit. The
    difference of magnitudes is that of the filter that shows the source best, with the true one as ``true_delta_mag``:
    another filter's is another. CPU seconds of the fits alone are in ``seconds``.
    """
    told, made, light = described(description), [], []
    for source, survey in zip(rows["source_id"], rows["survey"], strict=True):
        part, number = map(int, source.rpartition(":")[2].split("-"))
        planes, seen = filters_of(told, drawn(told, survey, part, number), part, number)
        made.append([stamp_of(plane, survey) for plane in planes])
        light.append([one.facts["light"] for one in seen])
    psfs, found = psfs_of([stamp for stamps in made for stamp in stamps]), []
    for stamps, shares in zip(made, light, strict=True):
        with timed() as spent:
            measured = measure(stamps, psfs=psfs)
        source = measured.source
        gain = np.minimum(source["delta_chi2"], source["delta_chi2_extended"])
        row = {"gain": gain, "seconds": spent.cpu} | {
            name: source[name] for name in (*FIT, "sep_arcsec", "sep_arcsec_err")
        }
        best = int(np.argmax(np.nan_to_num([one["snr_1"] for one in measured.rows])))
        row |= {name: measured.rows[best][name] for name in ("delta_mag", "delta_mag_err")}
        if len(shares[best]) > 1:
            row["true_delta_mag"] = abs(2.5 * np.log10(shares[best][1]))
        found.append(row)
    return pd.DataFrame(found, rows.index)


def _profile(place: float, fwhm: float = 4.8) -> NDArray[np.float64]:
    return np.exp(-4 * np.log(2) * ((np.arange(64) - place) / fwhm) ** 2)


def _stacking() -> None:
    """Print what it takes to stack five filters of sources that all lie differently on their pixels."""
    survey, rng = surveys.get("Pan-STARRS"), np.random.default_rng(0)
    sources = []
    for _ in range(60):
        places = 31.5 + rng.uniform(-0.5, 0.5, (len(survey.filters), 2))
        images = [rng.normal(100, 5, (64, 64)) + 800 * np.outer(_profile(y), _profile(x)) for x, y in places]
        sources.append([
            Plane(image.astype(np.float32), one.name, x, y)
            for image, one, (x, y) in zip(images, survey.filters, places, strict=True)
        ])  # fmt: skip
    stack_source(sources[0], survey)
    with timed() as spent:
        for planes in sources:
            stack_source(planes, survey)
    each = 1e3 * spent.cpu / len(sources)
    figure("stacking five filters, CPU ms a source", each, "<= 5", each <= 5)


def main(stacks: int = FEW) -> None:
    """Print what each model, and the classical fit, finds among so many stacks a survey of the benchmark."""
    heading("double or single")
    _stacking()
    with kept() as workspace:
        stage = made(workspace, stacks)
        index = read_index(workspace, stage)
        print(f"{len(index)} stacks of {DESCRIPTION.name} ({stage.describe()['description'][:12]}), "
              f"{int(index['label'].sum())} of doubles")  # fmt: skip
        for number, entry in enumerate(_models(workspace)):
            standing = VisualStanding.of(entry.card, entry.folder.url("card.json"))
            rows = scored(workspace, entry, index)
            told = judge(rows, standing)
            print(report(told))
            _print(entry.id, told, number == 0 and entry.name == "visualbinary")
        _classical(index)


def _print(name: str, told: dict, asked: bool) -> None:
    """Print a model's figures; what is asked is asked of the production model alone."""
    for survey, wanted in ASKED.items():
        one = told["surveys"].get(survey)
        if one is None:
            continue
        for share in FALSE:
            at = one[f"at_{share:g}"]
            first = asked and share == FALSE[0]
            for what, least in (("completeness", wanted), ("easy", _EASY)):
                value, interval = at[what], at["interval" if what == "completeness" else "easy_interval"]
                if value is not None:
                    figure(f"{name}: {survey}, {what} at {share:.1%} false", value, f">= {least}" if first else "-",
                           value >= least if first else None, f"{interval[0]:.3f} to {interval[1]:.3f}")  # fmt: skip
    held = told["calibration"]
    skill, error = held["brier_skill"], held["ece_middle"]
    figure(f"{name}: Brier skill", skill, "> 0" if asked else "-", skill > 0 if asked else None)
    figure(f"{name}: ECE, 0.05 < p < 0.95", error, "<= 0.02" if asked else "-", error <= 0.02 if asked else None,
           f"below {held['ece_middle_if_right']:.4f} if right")  # fmt: skip


def _classical(index: pd.DataFrame) -> None:
    """Print what the fits of filters find, by p_fit, of the first stacks of each survey."""
    for survey, rows in index.groupby("survey"):
        some = rows.iloc[:FITS]
        told = fitted(some)
        _pairs(str(survey), some, told)
        p_fit = told["p_fit"].to_numpy()
        unfitted = int(np.isnan(p_fit).sum())
        p_fit = np.nan_to_num(p_fit, nan=-1)  # what cannot be fitted is not called double, before anything that is
        area = metrics(some["label"], p_fit)["roc_auc"]
        for share in FALSE:
            at = at_false(some, p_fit, share)
            if at["completeness"] is not None:
                figure(f"two-star fit: {survey}, completeness at {share:.1%} false", at["completeness"], "-", None,
                       f"{at['interval'][0]:.3f} to {at['interval'][1]:.3f}, {len(some)} stacks ({unfitted} unfitted), "
                       f"AUC {area:.3f}, {1e3 * told['seconds'].mean():.0f} CPU ms each")  # fmt: skip


def _pairs(survey: str, rows: pd.DataFrame, told: pd.DataFrame) -> None:
    """Print how well pairs that are found are measured, of those wider than one FWHM."""
    found = framed(rows) & told["sep_arcsec"].notna() & (rows["label"] > 0)
    found &= rows["sep_arcsec"] > rows["psf_fwhm_arcsec"]
    for name, most in PAIR.items():
        true = told["true_delta_mag"] if name == "delta_mag" else rows[name]
        off = (told[name].abs() - true)[found].dropna()
        if len(off) < FEWEST:
            continue
        pull = off / told[f"{name}_err"][off.index]
        error, spread = float(off.abs().median()), float(pull.std())
        figure(f"two-star fit: {survey}, {name}, median absolute error", error, f"<= {most}", error <= most,
               f"{len(off)} pairs")  # fmt: skip
        middle = float(np.diff(np.quantile(pull, (0.1587, 0.8413)))[0] / 2)
        figure(f"two-star fit: {survey}, {name}, standard deviation of pulls", spread, "0.8 to 1.2",
               0.8 <= spread <= 1.2, f"half of what the middle 68% span: {middle:.2f}")  # fmt: skip


if __name__ == "__main__":
    main(20480)
