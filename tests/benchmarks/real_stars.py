"""Real stars, alone and with companions that are other stars' pixels: what the network and the two-star fit find.

python -m tests.benchmarks real_stars               # minutes; SKYSIFT_BENCHMARK=FOLDER keeps the simulated stacks
python -m tests.benchmarks real_stars --fields 12   # so many companions a star

Of every frame of ../shared/data that shows isolated round stars each is cut out as a file, goes through ingest and
stacking as any file of a user does, and is then asked of the model and of the fit. No PSF of a fit is made of the star
itself, or of the one whose pixels are its companion. The scores that 1% of the simulated singles exceed are those of
the frozen benchmark (stamps.toml), whose completeness stands beside, in the same cells. Intervals are Wilson's.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.io import fits
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from catalogs.folder import Folder
from models.registry import Entry, Registry
from models.runtime import Predictor
from models.spec import get_spec
from models.visual_rates import at_false
from models.visual_standing import VisualStanding
from pipeline import manifest, stores
from pipeline.metrics import wilson
from pipeline.partition import Key
from pipeline.settings import StampSetSettings, StampSettings
from pipeline.stamps import grid, ingest, reading, stacks, surveys, training
from pipeline.stamps.hits import hits
from pipeline.stamps.inject import Donor, companions, doubled, round_stars
from pipeline.stamps.layout import stacks_store
from pipeline.stamps.measure import measure
from pipeline.stamps.picture import Stamp, scatter
from pipeline.stamps.psf import nominal
from pipeline.stamps.recipe import ingest_stamps
from pipeline.stamps.stars import Example, example, psf_among
from pipeline.stamps.training import StampSet
from tests.benchmarks.figures import figure, heading
from tests.benchmarks.sets import complete, kept
from tests.benchmarks.stamps import DESCRIPTION, FEW, FITS, _stacks, fitted

EACH = 3  # companions a star
SHARE = 0.01
DATA = Path(__file__).resolve().parents[3] / "shared/data"

#: Frames by folder and pattern → survey; filters and what else is known stand in the headers.
FRAMES = {"stamps/blast/2010H/SDSS/SDSS_r*": "SDSS", "images/decam/*": "DECaLS", "images/hst_sn2022qmx/*": "HST"}

#: S/N of stars, and edges of cells: separation over FWHM, difference of magnitudes.
SNR = (30.0, 500.0)
WIDTHS, MAGS = (0.0, 0.5, 1.0, 2.0, 5.0, 40.0), (0.0, 2.0, 4.0)

#: Bits of Hubble's data quality with which a pixel is of use: hot or warm, but stable (what AstroDrizzle keeps).
_STABLE = 16 | 64


@dataclass(frozen=True, eq=False)
class Frame:
    """An image with its stars."""

    name: str
    stamp: Stamp
    sight: grid.Sight
    saturation: float
    stars: list[Donor]


def _frames() -> Iterator[Frame]:
    for pattern, survey in FRAMES.items():
        for path in sorted(DATA.glob(pattern)):
            yield _frame(path, surveys.get(survey))


def _frame(path: Path, survey: surveys.Survey) -> Frame:
    delivered = reading.read(Folder(str(path.parent)), path.name)
    sight = grid.sight(delivered, survey)
    name = str(delivered.card("FILTER")).split()[0]
    fwhm = survey.filter(name).fwhm_arcsec
    image, saturation = delivered.image.copy(), delivered.facts["saturation"]
    with fits.open(path) as opened:
        flagged = "DQ" in opened
        spoilt = (opened["DQ"].data & ~_STABLE) > 0 if flagged else hits(image, fwhm / sight.pixscale)
    mask = np.where(spoilt | ~np.isfinite(image) | (image >= saturation), 4, 0).astype(np.uint8)
    level, noise = scatter(image[mask == 0])
    if flagged:  # users have stacks of several exposures, in which such pixels are those of the others
        image = np.where(spoilt, median_filter(np.where(spoilt, level, image), 5), image).astype(np.float32)
    gain = 1.0 if str(delivered.card("BUNIT")).startswith("ELECTRON") else delivered.number("GAIN", low=0)
    stamp = Stamp(image, mask, noise, survey.name, name, sight.pixscale, -999.0, -999.0, fwhm=fwhm, gain=gain)
    stars = [one for one in round_stars(stamp, SNR[0])[0] if one.snr <= SNR[1]]
    return Frame(f"{survey.name} {name} {path.name.split('.')[0]}", stamp, sight, saturation, stars)


def _trials(frame: Frame, each: int) -> pd.DataFrame:
    """Return a row a trial: the untouched stars first, then those with companions."""
    alone = pd.DataFrame({"star": range(len(frame.stars)), "donor": -1})
    return pd.concat([alone, companions(frame.stars, each * len(frame.stars))], ignore_index=True)


def _delivered(frame: Frame, trials: pd.DataFrame, archive: Path) -> None:
    """Write the stamp of each trial as a file, north up on its survey's grid, as archives of these surveys do."""
    survey = surveys.get(frame.stamp.survey)
    for number, row in enumerate(trials.itertuples()):
        star = frame.stars[row.star]
        axes, shown = frame.sight.axes(star.x, star.y), frame.stamp
        if row.donor >= 0:
            shown = doubled(shown, star, frame.stars[row.donor], row.sep_arcsec, row.pa_deg, row.delta_mag, axes)
        cut = grid.cut(shown.image, np.zeros_like(shown.mask), (star.x, star.y), axes, survey)
        fits.PrimaryHDU(cut.image, _header(cut, frame.saturation)).writeto(
            archive / f"{number:05d}_{survey.name}_{frame.stamp.filter}.fits"
        )


def _header(cut: grid.Cut, saturation: float) -> fits.Header:
    """Return the header of a cut, at a place of the sky that is as good as any."""
    cards: dict[str, Any] = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": cut.x0 + 1, "CRPIX2": cut.y0 + 1}
    cards |= {"CRVAL1": 150.0, "CRVAL2": 2.0, "RA_OBJ": 150.0, "DEC_OBJ": 2.0}
    cards |= {"CD1_1": -cut.pixscale / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": cut.pixscale / 3600}
    return fits.Header(list((cards | ({"SATURATE": saturation} if np.isfinite(saturation) else {})).items()))


def _ingested(archive: Path, slug: str) -> tuple[dict[int, Stamp], pd.DataFrame, NDArray[np.float32]]:
    """Return stamps by number of the trial, and the index of stacks with these, as the pipeline makes them."""
    with tempfile.TemporaryDirectory(prefix="skysift-benchmark-") as folder:
        workspace, indices, images = Folder(folder), [], []
        list(ingest_stamps(None, workspace, Folder(str(archive)), StampSettings()))
        found: dict[int, Stamp] = {}
        for text in sorted(manifest.committed(workspace, stacks.STAGE, f"stacks/{slug}")):
            key = Key("stamps", slug, Key.parse(text).part)
            found |= _stamps(workspace, key)
            index = stacks.read_index(workspace, Key.parse(text))
            rows = index["row"].to_numpy()
            indices.append(index)
            images.append(stores.read(workspace, stacks_store(Key("stacks", slug, 0)), ["stack"],
                                      slice(rows[0], rows[-1] + 1))["stack"][rows - rows[0]])  # fmt: skip
    index = pd.concat(indices, ignore_index=True)
    return found, index.assign(number=index["source_id"].astype(int)), np.concatenate(images)


def _stamps(workspace: Folder, key: Key) -> dict[int, Stamp]:
    index = ingest.read_index(workspace, key)
    first = int(index["row"].iloc[0])
    arrays = stores.read(workspace, ingest.store_path(key.where), ("stamp", "mask"), slice(first, first + len(index)))
    return {
        int(row.source_id): Stamp(
            arrays["stamp"][row.row - first], arrays["mask"][row.row - first], row.noise, row.survey, row.filter,
            row.pixscale, row.x0, row.y0, row.mjd,
            row.fwhm_arcsec if np.isfinite(row.fwhm_arcsec) else surveys.get(row.survey).filter(row.filter).fwhm_arcsec,
            bool(np.isfinite(row.fwhm_arcsec)),
        )
        for row in index.itertuples()
    }  # fmt: skip


def _fit(trials: pd.DataFrame, stamps: dict[int, Stamp]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the gain of χ² of two stars over one, and what counts as two, of each trial; NaN where nothing fits."""
    told: dict[int, Example | None] = {
        row.star: example(one, one.x0, one.y0, one.psf)
        for row in trials[trials["donor"] < 0].itertuples() if (one := stamps.get(row.Index)) is not None
    }  # fmt: skip
    gain, double = np.full(len(trials), np.nan), np.zeros(len(trials), bool)
    for row in trials.itertuples():
        if row.Index not in stamps:
            continue
        stamp = stamps[row.Index]
        others = [one for k, one in told.items() if one is not None and k not in (row.star, row.donor)]
        psf = psf_among(others, nominal(1.0))
        source = measure([stamp], most=2, psfs={(stamp.survey, stamp.filter): psf}).source
        gain[row.Index] = np.minimum(source["delta_chi2"], source["delta_chi2_extended"])
        double[row.Index] = source["n_components"] > 1
    return gain, double


class _Model:
    """The network that ships, with its standing."""

    def __init__(self, workspace: Folder, entry: Entry) -> None:
        self.spec = get_spec(entry.name)
        self.standing = VisualStanding.of(entry.card, entry.folder.url("card.json"))
        self.predictor = Predictor(self.spec, Registry(workspace).load_weights(entry))

    def odds(self, index: pd.DataFrame, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return natural logarithms of the odds of a double of stacks."""
        known = index[list(self.spec.columns)].to_numpy(float)
        columns = pd.DataFrame(self.predictor.columns(images, known), index.index)
        return self.standing.odds(self.standing.evidence(index[["survey"]].join(columns)))


def _simulated(workspace: Folder, survey: str, model: _Model) -> pd.DataFrame:
    """Return stacks of the frozen benchmark of a survey with what both say: odds, and gain (NaN: not fitted)."""
    stage = StampSet(workspace, StampSetSettings(stacks=FEW, seed=None, description=str(DESCRIPTION)))
    keys = [key for key in stage.keys() if stage.survey(key) == survey]  # noqa: SIM118
    complete(stage, keys)
    found = []
    for key in keys:
        index = training.read_index(workspace, key)
        some = index.iloc[:FITS]
        gain = fitted(some)["gain"].reindex(index.index)
        found.append(index.assign(odds=model.odds(index, _stacks(workspace, index)), gain=gain))
    return pd.concat(found, ignore_index=True)


def _cells(rows: pd.DataFrame, fwhm: pd.Series) -> Iterator[tuple[str, pd.Series]]:
    """Yield cells of separation and difference of magnitudes, in words, and which rows lie in each."""
    width = rows["sep_arcsec"] / fwhm
    for low, high in pairwise(WIDTHS):
        for bright, faint in pairwise(MAGS):
            inside = (width >= low) & (width < high) & (rows["delta_mag"] >= bright) & (rows["delta_mag"] <= faint)
            yield f"{low:g}-{high:g} FWHM, dm {bright:g}-{faint:g}", inside


def _share(what: str, found: Sequence[bool] | NDArray[np.bool_], beside: str = "") -> None:
    count, total = int(np.sum(found)), len(found)
    low, high = wilson(count, total)
    figure(what, count / max(total, 1), "-", None, f"{count} of {total}, {low:.3f} to {high:.3f}{beside}")


def _print(survey: str, told: pd.DataFrame, simulated: pd.DataFrame, threshold: float) -> None:
    """Print what was found among the trials of a survey, and among simulated stacks at the same scores."""
    alone, pairs = told[told["donor"] < 0], told[told["donor"] >= 0]
    doubles = simulated[(simulated["label"] > 0) & (simulated["snr_1"] >= SNR[0])]
    for name, score, calls in (("network", "odds", told["p"] >= threshold), ("two-star fit", "gain", told["double"])):
        asked = simulated[simulated[score].notna() | (score == "odds")]
        at = at_false(asked, asked[score].to_numpy(), SHARE)
        own = calls.to_numpy()
        cut = at["cut"]
        _share(f"{survey}: {name}, false at its threshold", own[alone.index])
        singles = asked.loc[(asked["kind"] == "single") & (asked["snr_1"] >= SNR[0]), score] > cut
        beside = f"; simulated lone stars {singles.mean():.3f} of {len(singles)}, others {at['others']}"
        _share(f"{survey}: {name}, false where {SHARE:.0%} of simulated are", alone[score] > cut, beside)
        _share(f"{survey}: {name}, found at its threshold", own[pairs.index])
        beside = f"; simulated {at['completeness']:.3f}, {at['interval'][0]:.3f} to {at['interval'][1]:.3f}"
        _share(f"{survey}: {name}, found where {SHARE:.0%} of simulated are", pairs[score] > cut, beside)
        alike = dict(_cells(doubles, doubles["psf_fwhm_arcsec"]))
        for cell, inside in _cells(pairs, pairs["fwhm"]):
            if inside.any():
                some = doubles.loc[alike[cell] & doubles[score].notna(), score] > cut
                _share(f"{survey}: {name}, {cell}", pairs.loc[inside, score] > cut,
                       f"; simulated {some.mean():.3f} of {len(some)}")  # fmt: skip


def _told(frame: Frame, each: int, model: _Model) -> pd.DataFrame:
    """Return the trials of a frame with what network and fit say."""
    trials = _trials(frame, each)
    with tempfile.TemporaryDirectory(prefix="skysift-benchmark-") as archive:
        _delivered(frame, trials, Path(archive))
        stamps, index, images = _ingested(Path(archive), surveys.get(frame.stamp.survey).slug)
    odds = pd.Series(model.odds(index, images), index["number"])
    fwhm = pd.Series(index["fwhm_arcsec"].to_numpy(), index["number"])
    gain, double = _fit(trials, stamps)
    p = pd.Series(model.standing.p_prior(odds), odds.index)
    return trials.assign(odds=odds, p=p, fwhm=fwhm.median(), gain=gain, double=double, frame=frame.name)


def main(each: int = EACH) -> None:
    """Print what is found among real stars with so many companions each."""
    heading("real stars")
    if not DATA.is_dir():
        print(f"real images are not here: no folder {DATA}")
        return
    with kept() as workspace:
        entry = Registry(workspace).resolve("visualbinary")
        model = _Model(workspace, entry)
        told: dict[str, list[pd.DataFrame]] = {}
        for frame in _frames():
            print(f"{frame.name}: {len(frame.stars)} isolated round stars of S/N {SNR[0]:g} to {SNR[1]:g}", flush=True)
            if frame.stars:
                told.setdefault(frame.stamp.survey, []).append(_told(frame, each, model))
        for survey, found in told.items():
            simulated = _simulated(workspace, survey, model)
            _print(survey, pd.concat(found, ignore_index=True), simulated, model.standing.threshold)


if __name__ == "__main__":
    main()
