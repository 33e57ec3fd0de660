"""Light curves whose truth is known, made of those of the workspace: by putting light in, or turning them over.

Eclipsing binaries are put into the light curves of quiet stars, all sectors of a star together, so that noise, gaps
and systematics are real (Christiansen et al. 2013, ApJS 207, 35; 2020, AJ 160, 159). What else may look like one:
light curves upside down, which have the noise and systematics of real ones but no eclipse (Thompson et al. 2018,
ApJS 235, 38), and stars that vary all the time.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from catalogs import schema, write
from catalogs.binaries import KINDS
from catalogs.folder import Folder
from pipeline.errors import Missing
from pipeline.lightcurves import scored, search, snapshot
from pipeline.lightcurves.clean import Segment, prepare
from pipeline.lightcurves.completeness import TMAG_EDGES, place
from pipeline.lightcurves.labelled import Labelled, LabelledStar
from pipeline.lightcurves.search import Candidate
from pipeline.lightcurves.star import Observation, StarCurves, good
from pipeline.settings import CompletenessSettings
from pipeline.simulate.injection import Injection

__all__ = [
    "Sky",
    "choose_stars",
    "class_found",
    "from_label",
    "inject",
    "invert",
    "relative_noise",
    "segments",
    "survey",
]

Floats = NDArray[np.float64]

# How labels of what varies all the time begin.
_WAVES = ("GDOR", "DSCT", "SCT", "HADS", "SPB", "RR", "CEP", "DCEP", "ROT", "BY", "ACV")
_AROUND = 43_200.0  # seconds
_STANDS_OUT = 4.0  # robust standard deviations
_LONGEST = 10_800.0  # seconds of a flare so far above
_GAP = 0.25  # days
_EARLY = 0.34  # of a flare lies before its peak, at the most
_FIXED = ["tic_id", "tmag", "p_eb", "p_ew", "tier"]


@dataclass(frozen=True, eq=False)
class Sky:
    """The stars of a catalogue, and where their light curves are.

    Attributes
    ----------
    systems : pandas.DataFrame
        Rows of the catalogue, of the same stars: tic_id, tier, klass (as found), period, depth_1.
    stars : pandas.DataFrame
        One row a star with a light curve in the sectors wanted, by tic_id: tic_id, tmag, p_eb, tier, varies.
    quiet : numpy.ndarray
        Stars to put light into: of no tier, of known Tmag, less likely an eclipsing binary than an average star, not
        varying, and on no published list, as a planet's transits would be found in place of what is put in.
    others : numpy.ndarray
        Stars of no tier, to be turned over.
    upstream : dict
        Path → identity of the manifests that all this follows from.
    rows : pandas.DataFrame
        `pipeline.lightcurves.scored.rows` of the sectors wanted.
    scores : Scored
        What the model has scored.
    sectors : list of int
        Sectors of these light curves, ascending.
    """

    systems: pd.DataFrame
    stars: pd.DataFrame
    quiet: NDArray[np.int64]
    others: NDArray[np.int64]
    upstream: dict[str, str]
    rows: pd.DataFrame
    scores: scored.Scored
    sectors: list[int]

    def sources(self, wanted: Collection[int]) -> dict[int, Candidate]:
        """Return where the light curves of some stars are, and the manifests they rest on."""
        own = self.stars.assign(low_threshold=1.0)
        return {star.tic_id: star for star in search.choose(own, self.rows, self.scores, 2.0, wanted)}


def survey(workspace: Folder, model_id: str, sectors: Sequence[int] | None, quiet_power: float) -> Sky:
    """Take stock of a model's newest catalogue.

    Parameters
    ----------
    workspace : Folder
        Holds catalogue, scores and light curves.
    model_id : str
        The model.
    sectors : sequence of int, optional
        Those whose light curves are taken; default all.
    quiet_power : float
        Share of a segment's variance, the median of a star's, from which on that a single sine explains it varies.

    Raises
    ------
    Missing
        If there is no catalogue, or no quiet star in it.
    """
    path, upstream = _newest(workspace, model_id)
    table = write.read(workspace, path, schema.STARS).to_pandas()
    found = scored.read(workspace, model_id)
    rows = scored.one_a_sector(scored.rows(workspace, found.curves), found.segments)
    if sectors is not None:
        rows = rows[rows["sector"].isin(list(sectors))]
    # What is found and what could be must be of the same stars, or a false alarm would count for too little.
    table = table[table["tic_id"].isin(rows["tic_id"])]
    power = found.segments.groupby("tic_id")["gls_power"].median()
    stars = table.drop_duplicates("tic_id").sort_values("tic_id")
    stars = stars.assign(varies=~(stars["tic_id"].map(power).astype(float) < quiet_power))
    none = stars["tier"] == "none"
    usual = stars["p_prior"].astype(float).fillna(stars["threshold"] / 2)
    unlisted = stars["tmag"].notna() & stars["known_in"].isna()
    quiet = stars[none & (stars["p_eb"] <= usual) & ~stars["varies"] & unlisted]
    if not len(quiet):
        raise Missing(
            f"{workspace}: no quiet star in the catalogue of {model_id} to put eclipses into ({len(stars)} stars, "
            f"{int(none.sum())} of tier none); score more stars, or raise [completeness] quiet_power"
        )
    systems = table.assign(klass=class_found(table))[["tic_id", "tier", "klass", "period", "depth_1"]]
    kept = stars[[*_FIXED, "varies"]].reset_index(drop=True)
    hosts, others = (one["tic_id"].to_numpy(np.int64) for one in (quiet, stars[none]))
    return Sky(systems, kept, hosts, others, upstream, rows, found, sorted(rows["sector"].unique().tolist()))


def _newest(workspace: Folder, model_id: str) -> tuple[str, dict[str, str]]:
    """Return the model's newest catalogue at its own prior, and what it was made from but for older trials."""
    record = snapshot.origin(workspace, model_id)
    if record is None:
        raise Missing(f"{workspace}: no catalogue of {model_id}; run score_sectors")
    kept = {name: id for name, id in record.upstream.items() if "/completeness/" not in name}
    return str(record.details["snapshot"]["path"]), kept


def choose_stars(
    sky: Sky, settings: CompletenessSettings, labelled: Labelled | None, whole: int
) -> dict[str, list[int]]:
    """Choose the star of each trial; more trials of a sort change none of those before.

    Parameters
    ----------
    sky : Sky
        The stars there are.
    settings : CompletenessSettings
        How many trials of each sort, and seed.
    labelled : Labelled or None
        Real labelled stars.
    whole : int
        Trials of a sort are rounded up to a multiple of this.

    Returns
    -------
    dict
        Sort → TIC identifiers, by number of the trial; for ``labelled``, rows of the file. Quiet stars of each bin of
        Tmag that has some are drawn equally often: bright ones are few. Each star is turned over once.
    """
    injected, inverted, simulated = (
        -(-count // whole) * whole for count in (settings.injections, settings.inverted, settings.variables)
    )
    tmag = sky.stars.set_index("tic_id")["tmag"].astype(float).reindex(sky.quiet)
    bin_of = place(tmag, TMAG_EDGES)
    bins = [sky.quiet[bin_of == one] for one in np.unique(bin_of)]
    drawn = []
    for number in range(injected):
        rng = np.random.default_rng([settings.seed, 0, number])
        drawn.append(int(rng.choice(bins[int(rng.integers(len(bins)))])))
    others = np.random.default_rng([settings.seed, 1]).permutation(sky.others)[:inverted]
    hosts = np.random.default_rng([settings.seed, 2]).integers(len(sky.quiet), size=simulated)
    waves = [] if labelled is None else [n for n in range(len(labelled)) if _varies(labelled.star(n))]
    chosen = {"inverted": others.tolist(), "simulated": sky.quiet[hosts].tolist()}
    return {"injected": drawn, **chosen, "labelled": waves}


def _varies(star: LabelledStar) -> bool:
    """Whether a labelled star varies all the time and is no eclipsing binary."""
    return star.klass == "other" and star.weight > 0 and star.label.upper().startswith(_WAVES)


def class_found(stars: pd.DataFrame) -> list[str]:
    """Return the likeliest class of eclipsing binary of each row (p_ea, p_beta, p_ew); 'E' where none is given."""
    shares = stars.reindex(columns=[*KINDS.values()]).astype(float).to_numpy()
    names = np.array([*KINDS])
    best = np.nan_to_num(shares, nan=-1.0).argmax(axis=1)
    return np.where(np.isfinite(shares).all(axis=1), names[best], "E").tolist()


def inject(star: StarCurves, light: Injection) -> StarCurves:
    """Return a star's light curves times some light, averaged over each cadence.

    PDCSAP is corrected for the light of neighbours already: nothing is diluted.
    """
    seen = (replace(one, flux=one.flux * light.flux(one.time, one.cadence_s / 86400)) for one in star.observations)
    return replace(star, observations=tuple(seen))


def invert(star: StarCurves) -> StarCurves:
    """Return a star's light curves upside down, each sector about its median: relative flux f becomes 2 - f.

    Flares are taken out first (NaN): they have no counterpart below, and upside down would be taken for eclipses.
    """
    turned = []
    for one in star.observations:
        kept = np.flatnonzero((one.quality == 0) & np.isfinite(one.flux))
        median = float(np.median(one.flux[kept])) if kept.size else np.nan
        flux = 2 * median - one.flux
        flux[kept[_flares(one.time[kept], one.flux[kept], one.cadence_s)]] = np.nan
        turned.append(replace(one, flux=flux))
    return replace(star, observations=tuple(turned))


def _flares(time: Floats, flux: Floats, cadence_s: float) -> NDArray[np.bool_]:
    """Which samples stand out above those of half a day around them, with the peak early, and what decays behind.

    Not those near a gap: what rises or falls there is left by the instrument, as often below as above.
    """
    found = np.zeros(flux.size, bool)
    if flux.size < 4:
        return found
    rest = flux - median_filter(flux, size=max(5, int(_AROUND / cadence_s) | 1), mode="nearest")
    above = rest > _STANDS_OUT * 1.4826 * float(np.median(np.abs(rest)))
    breaks = np.flatnonzero(np.diff(time) > _GAP)
    ends = np.sort(np.r_[time[0], time[breaks], time[breaks + 1], time[-1]])
    edges = np.flatnonzero(np.diff(np.r_[False, above, False].astype(np.int8)))
    for first, last in edges.reshape(-1, 2):
        length = last - first
        early = int(rest[first:last].argmax()) <= _EARLY * (length - 1)
        if early and length * cadence_s <= _LONGEST and np.abs(ends - time[first]).min() > _GAP:
            found[first : last + 2 * length] = True
    return found


def from_label(star: LabelledStar) -> StarCurves:
    """Return a labelled star's light curve as those of the workspace are given."""
    order = np.argsort(star.time, kind="stable")
    order = order[np.isfinite(star.time[order])]
    time, flux, quality = star.time[order], star.flux[order], star.quality[order]
    unknown = np.full(time.size, np.nan)
    return StarCurves(star.tic_id, (Observation(star.sector, star.cadence_s, time, flux, unknown, quality),))


def relative_noise(star: StarCurves) -> float:
    """Return the relative noise of a cadence, of differences from one to the next; NaN without any."""
    steps = [np.diff(good(one)[1]) for one in star.observations]
    steps = [step for step in steps if step.size]
    if not steps:
        return float("nan")
    every = np.abs(np.concatenate(steps))
    return 1.4826 * float(np.median(every)) / np.sqrt(2)


def segments(star: StarCurves, recipe: str) -> list[tuple[dict[str, float], Segment]]:
    """Cut a star's light curves into segments as `pipeline.lightcurves.preprocess` does.

    Returns
    -------
    list of tuple
        sector, cadence_s and segment (its number in the sector); and the segment.
    """
    found = []
    for one in star.observations:
        errors = one.flux_err if recipe == "robust" else None
        pieces = prepare(one.time, one.flux, one.quality, recipe, one.cadence_s, errors)
        for number, piece in enumerate(pieces):
            found.append(({"sector": one.sector, "cadence_s": one.cadence_s, "segment": number}, piece))
    return found
