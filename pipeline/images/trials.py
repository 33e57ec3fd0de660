"""Pairs of images → transients put into the science image by its own PSF, and what is found of each.

They go through what every image goes through: subtraction with the same match, calibration, detection, features. What
is found of them stays beside the result (`table_path`), and is written nowhere else: no candidate is of them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from catalogs import write
from catalogs.candidates import CANDIDATES, SPOILED
from catalogs.folder import Folder
from catalogs.recovery import IMAGE_INJECTIONS
from pipeline import manifest, stores
from pipeline.errors import Missing
from pipeline.images import completeness, efficiency, hosts, inject, places
from pipeline.images.assessment import assess
from pipeline.images.difference import DIFFERENCE, DifferenceImages, difference_path, matched, part_path
from pipeline.images.harvest import harvest
from pipeline.images.image import Image
from pipeline.images.match import Match
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.settings import InjectionSettings, digest
from pipeline.stage import InputOutcome, Product, Stage, State

__all__ = ["FILE", "INJECT", "InjectImages", "deliver", "table_path"]

INJECT = "inject_images"

#: Name of the table beside the results of one pair.
FILE = "injections.parquet"

#: In what order places are drawn, in even and odd rounds.
_TURNS = ("disk", "core", "blank"), ("core", "disk", "blank")


def table_path(pair_id: str) -> str:
    """Return where the injections of a pair lie in the workspace."""
    return f"differences/{pair_id}.injections.parquet"


def deliver(workspace: Folder, pair_id: str, out: Path) -> None:
    """Put the injections of a pair beside its results; of a pair without any, remove those of an earlier run.

    Parameters
    ----------
    workspace : Folder
        Holds them.
    pair_id : str
        The pair.
    out : Path
        Folder of the results.
    """
    (out / FILE).unlink(missing_ok=True)
    if workspace.exists(table_path(pair_id)):
        Folder(out).write(FILE, workspace.read(table_path(pair_id)))


class InjectImages(Stage):
    """Transients in every pair that is subtracted, and what is found of them.

    Places keep clear of what the plain subtraction has found, and of each other; where one image has no room for all,
    they are spread over several. A host may then have one in each: of few hosts, trials are not independent.

    Parameters
    ----------
    difference : DifferenceImages
        The pairs, and how they are subtracted.
    settings : InjectionSettings
        How many, and how bright.
    """

    name = INJECT
    version = 1
    settings: InjectionSettings

    def __init__(self, difference: DifferenceImages, settings: InjectionSettings) -> None:
        super().__init__(difference.workspace, settings)
        self.difference = difference

    def keys(self) -> list[Key]:
        """Return one key a pair that is subtracted in full, sorted."""
        names = dict.fromkeys(key.where for key in self.difference.keys())  # noqa: SIM118 — a stage is no dict
        done = [name for name in names if assess(self.workspace, self.difference.bands(name)) is not None]
        return [Key("injections", name, 0) for name in done]

    def inputs(self, key: Key) -> list[str]:
        """Return the pair."""
        return [key.where]

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the bands of its difference, its match and the two images."""
        found: dict[str, str] = {}
        for band in self.difference.bands(key.where):
            found |= self.difference.upstream(band) | self.require(DIFFERENCE, band)
        return found

    def told(self) -> list[str]:
        """Return what there is to say of all pairs, in lines that people read."""
        records = [manifest.read(self.workspace, self.name, key) for key in self.keys()]
        return completeness.told([one.details for one in records if one is not None and one.details])

    def probe(self, key: Key, name: str) -> None:
        """Measure a pair and forget it."""
        self._trials(key.where)

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Put transients into one pair and look for them."""
        if key.where in skip:
            return Product([], 0, [skip[key.where]])
        table, details = self._trials(key.where)
        rows = IMAGE_INJECTIONS.conform(pa.Table.from_pandas(table, preserve_index=False))
        written = Object(*write.write(self.workspace, table_path(key.where), rows, IMAGE_INJECTIONS))
        return Product([written], len(table), [InputOutcome(key.where, State.DONE)], details)

    def _trials(self, pair_id: str) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Return the rows of a pair, and what follows from them."""
        science, reference = self.difference.images(pair_id)
        found = matched(self.workspace, pair_id)
        if found is None:
            raise Missing(f"{pair_id}: not matched; run difference_images")
        ny, nx = reference.shape
        fwhm = found.science_psf.fwhm(nx / 2, ny / 2)
        rng = np.random.default_rng([self.settings.seed, int(digest(pair_id)[:12], 16)])
        truth = self._drawn(pair_id, science, reference, found, rng)
        parts, counts = [_described(truth.iloc[:0], _NOTHING, fwhm)], list[pd.DataFrame]()
        for _, own in truth.groupby("round"):
            seen, candidates = self._round(pair_id, own, (science, reference, found), rng)
            parts.append(_described(seen, candidates, fwhm))
            usable = seen["usable"].to_numpy(bool)
            threshold = self.difference.settings.threshold
            counts.append(efficiency.counted(seen, candidates, fwhm, usable, threshold))
        table = pd.concat(parts, ignore_index=True)
        x, y = table["x"].to_numpy(), table["y"].to_numpy()
        near = hosts.surroundings(x, y, reference.sources(), float(reference.details["pixscale"]))
        ra, dec = reference.wcs.all_pix2world(x, y, 0) if len(x) else (x, y)
        table = table.assign(
            pair_id=pair_id, number=np.arange(len(table)), ra=np.asarray(ra) % 360, dec=dec,
            host_sep_arcsec=near["host_sep_arcsec"], host_dlr=near["host_dlr"],
        )  # fmt: skip
        return table[IMAGE_INJECTIONS.names], completeness.details(counts, table, self.settings.count)

    def _drawn(
        self, pair_id: str, science: Image, reference: Image, found: Match, rng: np.random.Generator
    ) -> pd.DataFrame:
        """Return places with flux, environment and round."""
        ny, nx = reference.shape
        warp, sources = found.warp(science, reference), reference.sources()
        fwhm = max(psf.fwhm(nx / 2, ny / 2) for psf in (found.science_psf, found.reference_psf))
        known = pd.concat([_candidates(self.workspace, key) for key in self.difference.bands(pair_id)])

        def covered(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
            """Return whether the science image covers places of the reference."""
            xs, ys = warp(x, y) if len(x) else (x, y)
            edge, (rows, columns) = 2 * fwhm, science.shape
            return np.asarray((xs > edge) & (ys > edge) & (xs < columns - 1 - edge) & (ys < rows - 1 - edge))

        share, more = divmod(self.settings.count, len(places.ENVIRONMENTS))
        left = {name: share + (k < more) for k, name in enumerate(places.ENVIRONMENTS)}
        drawn = []
        for number in range(self.settings.rounds):
            # Disks and cores are of the same galaxies: each kind has first choice in turn.
            wanted = {name: left[name] for name in _TURNS[number % 2]}
            table = places.draw(sources, reference.shape, wanted, fwhm, rng, known, covered)
            left = {name: count - int((table["environment"] == name).sum()) for name, count in left.items()}
            drawn.append(table.assign(round=number))
            if not len(table) or not any(left.values()):
                break
        truth = pd.concat(drawn, ignore_index=True)
        error = self._errors(pair_id, truth)
        limits = self.settings.min_snr, self.settings.max_snr
        truth["flux"] = inject.fluxes(error, science.facts.gain, rng, limits)
        return truth[np.isfinite(truth["flux"]) & (truth["flux"] > 0)].reset_index(drop=True)

    def _errors(self, pair_id: str, truth: pd.DataFrame) -> NDArray[np.float64]:
        """Return the error of a flux at places of the plain subtraction."""
        out = np.full(len(truth), np.nan)
        x, y = (np.rint(truth[name].to_numpy(float)).astype(int) for name in ("x", "y"))
        for key in self.difference.bands(pair_id):
            record = manifest.read(self.workspace, DIFFERENCE, key)
            assert record is not None
            y0, y1 = record.details["rows"]
            own = (y >= y0) & (y < y1)
            plane = stores.read(self.workspace, difference_path(pair_id), ("flux_err",), slice(y0, y1))["flux_err"]
            out[own] = plane[y[own] - y0, x[own]]
        return out

    def _round(
        self, pair_id: str, truth: pd.DataFrame, pair: tuple[Image, Image, Match], rng: np.random.Generator
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return transients as a subtraction shows them, and all candidates of it; one band in memory at a time."""
        place, flux = truth[["x", "y"]].to_numpy(float), truth["flux"].to_numpy(float)
        shown = inject.inject(*pair, place, flux, rng)
        new = truth[["x", "y"]].assign(snr=self.settings.max_snr)
        seen, candidates = [], list[pd.DataFrame]()
        for key in self.difference.bands(pair_id):
            band, facts, *_ = self.difference.subtracted(key, shown, new)
            seen.append(inject.seen(truth, band))
            candidates.append(_judged(harvest(band, facts, self.difference.settings.threshold)))
        return pd.concat(seen).sort_index(), pd.concat(candidates, ignore_index=True)


def _candidates(workspace: Folder, key: Key) -> pd.DataFrame:
    return write.read(workspace, part_path(key.where, key.part), CANDIDATES).to_pandas()[["x", "y"]]


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """Return candidates as they are counted: `flags` are what speaks against them, `bits` all that there are."""
    own = table[["x", "y", "snr"]].astype(float)
    bits = table["flags"].to_numpy(np.int64)
    return own.assign(flags=bits & int(SPOILED), bits=bits)


_NOTHING = pd.DataFrame({name: np.zeros(0, np.int64) for name in ("x", "y", "snr", "flags", "bits")})


def _described(seen: pd.DataFrame, candidates: pd.DataFrame, fwhm: float) -> pd.DataFrame:
    """Return transients with the candidate that is theirs."""
    near = efficiency.own(seen, candidates, max(1.0, 0.5 * fwhm))
    found = near >= 0
    theirs = candidates.iloc[near[found]]
    out = {name: np.full(len(seen), np.nan) for name in ("snr", "sep_px", "flags")}
    away = theirs[["x", "y"]].to_numpy(float) - seen[["x", "y"]].to_numpy(float)[found]
    for name, values in (("snr", theirs["snr"]), ("sep_px", np.hypot(*away.T)), ("flags", theirs["bits"])):
        out[name][found] = np.asarray(values, float)
    told = seen.assign(found=found, **out)
    told = told.assign(flags=told["flags"].astype("Int64"))
    if "snr_opt" not in told:
        return told
    return told.assign(flux_forced=told["forced_flux"], flux_err=told["flux"] / told["snr_opt"])
