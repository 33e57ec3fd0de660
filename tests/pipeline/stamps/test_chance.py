import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from catalogs import write
from catalogs.folder import Folder
from catalogs.stamp_measures import MEASURES, STAMP_MEASURES
from pipeline.errors import UsageError
from pipeline.settings import MeasureSettings, StampSettings
from pipeline.stamps import status
from pipeline.stamps.chance import chance, read_counts, surface_density
from pipeline.stamps.gaia import Gaia
from pipeline.stamps.measure import Measure
from pipeline.stamps.measures import STAGE, MeasureStamps, _Lists, measure_stamps, sources_path, stamps_path
from pipeline.stamps.recipe import ingest_stamps
from tests.stamp_drawing import drawn, saved


def test_chance_is_one_less_the_void_probability() -> None:
    assert chance(2.0, 0.01) == pytest.approx(1 - np.exp(-np.pi * 4 * 0.01))
    assert chance(1e-6, 1e-6) == pytest.approx(np.pi * 1e-18)


@pytest.mark.parametrize("suffix", ["csv", "ecsv", "parquet", "fits"])
def test_counts_are_read_and_interpolated(tmp_path, suffix: str) -> None:  # type: ignore[no-untyped-def]
    table = pd.DataFrame({"mag": [14.0, 16.0, 18.0], "per_deg2": np.array([1e2, 1e3, 1e4])})
    path = tmp_path / f"counts.{suffix}"
    if suffix == "csv":
        table.to_csv(path, index=False)
    elif suffix == "parquet":
        table.to_parquet(path)
    else:
        Table.from_pandas(table).write(path)
    counts = read_counts(path)
    for mag, density in ((15.0, 10**2.5), (13.0, 10**1.5), (19.0, 10**4.5), (18.0, 1e4)):
        assert surface_density(counts, mag) * 3600**2 == pytest.approx(density)
    assert np.isnan([surface_density(counts, mag) for mag in (np.nan, 5.0, 30.0)]).all()


def test_counts_of_the_nearest_place(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "counts.csv"
    path.write_text("ra,dec,mag,per_arcsec2\n359.9,0,15,1e-4\n359.9,0,17,1e-3\n20,0,15,1e-5\n20,0,17,1e-4\n")
    counts = read_counts(path)
    assert surface_density(counts, 17, 0.1, 0.2) == pytest.approx(1e-3)
    assert surface_density(counts, 17, 19, 0.2) == pytest.approx(1e-4)
    assert np.isnan(surface_density(counts, 17, 10, 0.2)) and np.isnan(surface_density(counts, 17, 20, 60))


def test_counts_that_are_none(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "counts.csv"
    path.write_text("mag,stars\n15,3\n")
    with pytest.raises(UsageError, match="per_arcsec2"):
        read_counts(path)
    path.write_text("mag,per_arcsec2\n15,3e-4\n16,2e-4\n")
    with pytest.raises(UsageError, match="must grow"):
        read_counts(path)
    with pytest.raises(UsageError, match="no file"):
        read_counts(tmp_path / "absent.fits")
    for name in ("broken.fits", "broken.vot", "broken.ecsv", "broken.parquet"):
        (tmp_path / name).write_bytes(b"junk")
        with pytest.raises(UsageError, match="not a table"):
            read_counts(tmp_path / name)


_BIG = 4611686018427387905  # would be another one as a float


def _stars() -> pd.DataFrame:
    return pd.DataFrame({
        "source_id": [_BIG, _BIG + 2, 7], "ra": [10.0, 10.0 + 1.5 / 3600 / np.cos(np.radians(60)), 11.0],
        "dec": [60.0, 60.0, 60.0], "parallax": [5.0, 5.3, 1.0], "parallax_error": [0.3, 0.4, 0.1],
        "pmra": [10.0, 13.0, 0.0], "pmra_error": [0.6, 0.8, 1.0], "pmdec": [0.0, 4.0, 0.0],
        "pmdec_error": [0.6, 0.8, 1.0], "ruwe": [1.1, 2.0, 1.0], "ipd_frac_multi_peak": [3, 50, 0],
        "phot_g_mean_mag": [15.0, 16.0, 14.0],
    })  # fmt: skip


def test_gaia_stars_are_matched_and_compared(tmp_path) -> None:  # type: ignore[no-untyped-def]
    _stars().to_csv(tmp_path / "gaia.csv", index=False)
    gaia = Gaia.read(tmp_path / "gaia.csv")
    second = 10 + 1.52 / 3600 / np.cos(np.radians(60))
    told = gaia.match(10.0, 60.0, second, 60.0, 0.05)
    assert (told["gaia_id_1"], told["gaia_id_2"]) == (_BIG, _BIG + 2)
    assert told["plx_diff_sigma"] == pytest.approx(0.6)
    assert told["pm_diff_sigma"] == pytest.approx(5.0)
    assert (told["ruwe"], told["ipd_frac_multi_peak"]) == (1.1, 3.0)
    alone = gaia.match(10.0, 60.0)
    assert alone["gaia_id_2"] is None and np.isnan(alone["plx_diff_sigma"])
    far = gaia.match(10.0, 60.0, 10.0, 60 + 1.5 / 3600, 0.05)
    assert far["gaia_id_2"] is None
    # A companion that Gaia has not resolved is not the primary's star.
    near = gaia.match(10.0, 60.0, 10.0, 60 + 0.2 / 3600, 0.1)
    assert (near["gaia_id_1"], near["gaia_id_2"]) == (_BIG, None)
    assert gaia.match(50.0, 10.0)["gaia_id_1"] is None
    assert gaia.match(np.nan, np.nan)["gaia_id_1"] is None


def test_gaia_follows_proper_motions_and_knows_vizier(tmp_path) -> None:  # type: ignore[no-untyped-def]
    table = pd.DataFrame({"Source": [5], "RA_ICRS": [10.0], "DE_ICRS": [0.0], "pmRA": [1000.0], "pmDE": [0.0]})
    gaia = Gaia(table.rename(columns=str.lower))
    mjd_2000 = 51544.5
    assert gaia.match(10.0 - 16 / 3600, 0.0, mjd=mjd_2000)["gaia_id_1"] == 5
    assert gaia.match(10.0, 0.0, mjd=mjd_2000)["gaia_id_1"] is None
    with pytest.raises(UsageError, match="source_id"):
        Gaia(pd.DataFrame({"ra": [1.0], "dec": [1.0]}))


def test_the_brighter_star_need_not_be_where_the_source_was_looked_for() -> None:
    # Two stars 1" apart; the place is that of their light, 0.55" from the brighter one.
    table = pd.DataFrame({"source_id": ["11", "22"], "ra": [100.0, 100.0], "dec": [0.0, 1 / 3600]})
    stars = Gaia(table)
    place = 0.55 / 3600
    matched = stars.match(100.0, place, 100.0, 1 / 3600, 0.02, sep_arcsec=1.0, pa_deg=0.0)
    assert (matched["gaia_id_1"], matched["gaia_id_2"]) == (11, 22)
    # One star that is nearest to both places is that of the nearer one.
    alone = Gaia(table.iloc[1:]).match(100.0, place, 100.0, 1 / 3600, 0.4, sep_arcsec=0.8, pa_deg=0.0)
    assert (alone["gaia_id_1"], alone["gaia_id_2"]) == (None, 22)
    with pytest.raises(UsageError, match="source_id is a float"):
        Gaia(table.assign(source_id=[4.657e18, np.nan]))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):  # type: ignore[no-untyped-def]
    """A pair in each of three surveys, whose files say nothing of magnitudes."""
    top = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(5)
    (top / "archive").mkdir()
    for number, (survey, scale) in enumerate((("SDSS", 0.396), ("Pan-STARRS", 0.25), ("ZTF", 1.01))):
        stamp = drawn(rng, 1.9, 60, 1.0, 150, 1.3 if scale < 1 else 2.0, scale)
        saved(stamp, top / "archive" / f"s{number}_{survey}_r.fits", 30.0 + number, -20.0, zeropoint=None)
    workspace = Folder(top / "workspace")
    list(ingest_stamps(None, workspace, Folder(top / "archive"), StampSettings()))
    (top / "counts.csv").write_text("mag,per_deg2\n14,100\n24,1000000\n")
    return workspace, MeasureSettings(counts=str(top / "counts.csv"))


def measured(workspace, settings):  # type: ignore[no-untyped-def]
    """Return the sources' rows, their stamps' rows, and what is said of each source."""
    list(measure_stamps(None, workspace, settings, overwrite=True))
    keys = MeasureStamps(workspace, settings).keys()
    sources = pd.concat([write.read(workspace, sources_path(key), MEASURES).to_pandas() for key in keys])
    stamps = pd.concat([write.read(workspace, stamps_path(key), STAMP_MEASURES).to_pandas() for key in keys])
    told = status.outcomes(workspace, STAGE)
    said = dict(zip(told["input"].str.split("/").str[-1], told["message"], strict=True))
    return sources.set_index("source_id"), stamps.set_index("source_id"), said


def test_surveys_with_a_fixed_zero_point_need_none_in_the_header(pairs) -> None:  # type: ignore[no-untyped-def]
    sources, stamps, said = measured(*pairs)
    # 22.5 of nanomaggies; 25 + 2.5 log10(54) = 29.331 of stacks of 54 s; ZTF's headers have one of each exposure.
    for name, zero in (("s0", 22.5), ("s1", 29.3310)):
        mag = zero - 2.5 * np.log10(stamps.loc[name, "flux_2"])
        assert stamps.loc[name, "mag_2"] == pytest.approx(mag, abs=1e-4)
        density = 10 ** (2 + 0.4 * (mag - 14)) / 3600**2
        by_hand = 1 - np.exp(-np.pi * sources.loc[name, "sep_arcsec"] ** 2 * density)
        assert sources.loc[name, "p_chance"] == pytest.approx(by_hand, rel=1e-3)
        assert pd.isna(said[name])
    assert sources.loc["s2", "n_components"] == 2
    assert np.isnan(stamps.loc["s2", "mag_2"]) and np.isnan(sources.loc["s2", "p_chance"])
    assert "zero point" in said["s2"]


def test_counts_of_a_filter_are_for_that_filter_alone() -> None:
    def chance_of(filter: str | None, mags: dict[str, float]) -> float:
        lists = _Lists(MeasureSettings(counts_filter=filter))
        lists.counts = pd.DataFrame({"mag": [14.0, 24.0], "per_arcsec2": [1e-5, 1e-1]})
        rows = [{"filter": name, "mag_2": mag, "mjd": np.nan} for name, mag in mags.items()]
        source = {"sep_arcsec": 1.0, "sep_arcsec_err": 0.1, "pa_deg": 0.0, "ra_2": 10.0, "dec_2": 60 + 1 / 3600}
        stars = pd.DataFrame({"source_id": [1], "ra": [10.0], "dec": [60.0], "phot_g_mean_mag": [17.5]})
        lists.gaia = Gaia(stars)
        told = lists.told(Measure(source | {"delta_mag": 1.5, "ra": np.nan}, rows), 10.0, 60.0)
        return float(told["p_chance"])

    def by_hand(mag: float) -> float:
        return float(1 - np.exp(-np.pi * 10 ** (-5 + 0.4 * (mag - 14))))

    mags = {"g": 21.0, "r": 20.0, "i": 18.0, "z": np.nan}
    assert chance_of("i", mags) == pytest.approx(by_hand(18.0))
    assert chance_of(None, mags) == pytest.approx(by_hand(20.0))  # the median, not the mean
    assert chance_of(None, {"z": np.nan}) == pytest.approx(by_hand(19.0))  # 17.5 + 1.5 of Gaia's G
    assert chance_of("G", {"g": 21.0}) == pytest.approx(by_hand(19.0))
    assert np.isnan(chance_of("z", mags)) and np.isnan(chance_of("u", mags))
