import numpy as np
import pandas as pd
from scipy.special import logit

from catalogs.stamps import StampFlag
from catalogs.visual_binaries import is_clean, tier
from pipeline.doubles import expected, filters, sources, with_completeness
from pipeline.fusion import Fusion
from pipeline.stamps import completeness

FUSION = Fusion.model_validate({"every": {"scale": 1, "offset": 0}, "shares": [1 / 8] * 8, "threshold": 0.6,
                                "prior": 0.09})  # fmt: skip
ASKED = {"prior": 0.09, "precision_asked": 0.9, "uncertain": 10.0}


def logits(odds):
    """Return logits that say so of all bins alike."""
    return [0.0, *([odds - np.log(8)] * 8)]


def row(source, survey="SDSS", odds=0.0, **more):
    usual = {"source_id": source, "survey": survey, "ra": 10.0, "dec": 60.0, "filters": "g,r", "method": "weighted",
             "pixscale": 0.4, "mjd": 55000.0, "snr": 100.0, "fwhm_arcsec": 1.3, "flags": 0}  # fmt: skip
    return usual | {"logits": [] if odds is None else logits(odds)} | more


def scored(*rows):
    return pd.DataFrame(rows).sort_values(["source_id", "survey"], ignore_index=True)


NOTHING = pd.DataFrame({"source_id": pd.Series(dtype=object), "sep_arcsec": 0.0, "delta_mag": 0.0})


def test_two_surveys_together_are_surer_than_each():
    found = sources(scored(row("a", "SDSS", 2.0), row("a", "HST", 1.5), row("b", odds=2.0)), NOTHING, FUSION, **ASKED)
    # Both say much the same, as two would that are misled by the same: 3.5 over the root of 3.5² / (0.1 + 2² + 1.5²).
    np.testing.assert_allclose(logit(found["p_double"]), [6.35**0.5, 2.0])
    np.testing.assert_allclose(logit(found["p_prior"]), np.array([6.35**0.5, 2.0]) + logit(0.09))


def test_position_and_flags_are_of_what_counts():
    rows = scored(
        row("a", "SDSS", 1.0, fwhm_arcsec=1.3, ra=10.0, mjd=55000.0, flags=int(StampFlag.RESAMPLED)),
        row("a", "HST", 1.0, fwhm_arcsec=0.1, ra=11.0, mjd=None, flags=int(StampFlag.SATURATED)),
        row("a", "unWISE", None, fwhm_arcsec=6.0, flags=int(StampFlag.UNABLE | StampFlag.BAD)),
        row("b", "unWISE", None, flags=int(StampFlag.UNABLE | StampFlag.SATURATED), ra=None),
    )
    found = sources(rows, NOTHING, FUSION, **ASKED).set_index("source_id")
    a, b = found.loc["a"], found.loc["b"]
    assert a["ra"] == 11.0 and np.isnan(a["pos_epoch"])
    assert a["flags"] == StampFlag.RESAMPLED | StampFlag.SATURATED and a["saturated"]
    assert b["tier"] == "unknown" and b["saturated"] and np.isnan(b["ra"])


def test_tiers_and_what_is_clean():
    assert tier([0.9, 0.5, 0.1, np.nan], 0.9, 10.0).tolist() == ["double", "possible", "single", "unknown"]
    flags = [0, int(StampFlag.SATURATED), int(StampFlag.RESAMPLED), 0]
    assert is_clean(["double", "double", "double", "possible"], flags).tolist() == [True, False, True, False]


def test_false_ones_by_the_curve_or_by_the_rows():
    found = sources(
        scored(*(row(f"{n:03d}", odds=6.0 if n < 10 else -6) for n in range(100))), NOTHING, FUSION, **ASKED
    )
    told = expected(found, FUSION)
    assert told[0].startswith("10 of 100 sources are of the tier double")
    p = 1 / (1 + np.exp(-6 - logit(0.01)))
    assert told[3] == f"if 1% of all are double: {10 * (1 - p):.3g} false ones expected, precision {p:.3f}"
    curve = {"p": [0.0, 0.5, 1.0], "completeness": [1, 0.8, 0], "false_positives": [1, 0.009, 0], "negatives": 999}
    measured = FUSION.model_copy(update={"curve": Fusion.model_validate(FUSION.model_dump() | {"curve": curve}).curve})
    told = expected(found.assign(threshold=0.5), measured)
    assert "mix of surveys" in told[1]
    assert told[2] == "if 50% of all are double: 0.5 false ones expected, precision 0.988, completeness 0.800"
    nothing = sources(scored(row("a", odds=None)), NOTHING, FUSION, **ASKED)
    assert "nothing is known of any source" in expected(nothing, FUSION)[0]


def test_completeness_is_that_of_the_best_survey():
    rng = np.random.default_rng(1)
    pairs = pd.DataFrame({
        "survey": np.repeat(["SDSS", "HST"], 4000), "label": 1, "sep_arcsec": rng.uniform(0.7, 1.0, 8000),
        "delta_mag": rng.uniform(1, 2, 8000), "snr_1": rng.uniform(50, 100, 8000),
    })  # fmt: skip
    simulated = completeness.table(pairs.assign(p=np.repeat([0.3, 0.9], 4000) > rng.random(8000)), threshold=0.5)
    measures = pd.DataFrame({"source_id": ["a", "b"], "n_components": 2, "sep_arcsec": 0.8, "delta_mag": 1.5})
    rows = scored(row("a", "SDSS", 1.0, snr=70.0), row("a", "HST", 1.0, snr=70.0), row("b", odds=1.0, snr=70.0),
                  row("c", odds=1.0))  # fmt: skip
    single = pd.DataFrame({"source_id": "", "survey": "", "snr_1": 0.0}, range(0))
    found = with_completeness(sources(rows, measures, FUSION, **ASKED), rows, single, simulated)
    np.testing.assert_allclose(found["completeness"], [0.9, 0.3, np.nan], atol=0.03)
    none = with_completeness(sources(rows, NOTHING, FUSION, **ASKED), rows, single, simulated)
    assert none["completeness"].isna().all()
    # The brighter star's signal to noise counts where it was measured, of both filters: sqrt(2) 4000 is not simulated.
    single = pd.DataFrame({"source_id": "a", "survey": ["HST", "HST", "SDSS"], "snr_1": [4000.0, 4000.0, np.nan]})
    found = with_completeness(sources(rows, measures, FUSION, **ASKED), rows, single, simulated)
    np.testing.assert_allclose(found["completeness"], [0.3, 0.3, np.nan], atol=0.03)


def test_a_filter_that_is_in_no_stack_has_no_probability():
    stamps = pd.DataFrame([
        {"source_id": "a", "survey": "SDSS", "filter": band, "file": f"{band}.fits", "mjd": 5.0, "flags": 0}
        for band in "gri"
    ])  # fmt: skip
    empty = pd.DataFrame({name: pd.Series(dtype=object) for name in ("source_id", "survey", "filter")})
    found = filters(scored(row("a", odds=1.0)), stamps, empty, FUSION)
    assert found["filter"].tolist() == ["g", "i", "r"] and found["p"].isna().tolist() == [False, True, False]
    assert found["stack_method"].isna().tolist() == [False, True, False]
