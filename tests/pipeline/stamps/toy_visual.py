"""A catalogue of visual binaries of a few sources, measured or not."""

from catalogs import write
from catalogs.visual_binaries import TIERS, VISUAL_BINARIES, VISUAL_BINARY_FILTERS, tier
from tests.pipeline.stamps import toy_stacks

__all__ = ["CATALOGUE", "SOURCES", "fill"]

CATALOGUE = "catalogs/visual_binaries.parquet"

#: Source → p_double, and what its stacks show: separation, position angle, difference of magnitudes.
SOURCES = {
    "a": (0.99, (1.8, 30.0, 0.5)),
    "b": (0.62, (1.2, 200.0, 1.0)),
    "c/1": (0.45, (0.6, 90.0, 2.0)),
    "d": (0.01, (0.0, 0.0, 0.0)),
    "e": (None, (0.0, 0.0, 0.0)),
}

_PROVENANCE = {"catalog_release": "r", "model_id": "visualbinary-0123abcd", "model_sha256": "0" * 64,
               "stage_version": 1, "settings_hash": "5e", "manifest_key": "combine/x"}  # fmt: skip


def fill(folder, measured=True, surveys=tuple(toy_stacks.SURVEYS)):
    """Write stacks and catalogue; return the catalogue's rows."""
    toy_stacks.fill(folder, {name: true for name, (_, true) in SOURCES.items()}, surveys)
    rows = [_row(name, p, true, measured) for name, (p, true) in SOURCES.items()]
    write.write(folder, CATALOGUE, VISUAL_BINARIES.of(rows), VISUAL_BINARIES)
    if measured:
        own = [{"source_id": name, "survey": "SDSS", "filter": band, "sep_arcsec": true[0] + 0.01, "delta_mag": true[2],
                "delta_chi2": 12.0, "files": [f"{name}.fits"], "stack_method": "single", "flags": 0} | _PROVENANCE
               for name, (_, true) in SOURCES.items() for band in "gr" if true[0]]  # fmt: skip
        path = f"catalogs/{VISUAL_BINARY_FILTERS.name}.parquet"
        write.write(folder, path, VISUAL_BINARY_FILTERS.of(own), VISUAL_BINARY_FILTERS)
    return write.read(folder, CATALOGUE).to_pandas()


def _row(name, p, true, measured):
    row = {"source_id": name, "ra": 10.0, "dec": -5.0, "surveys_used": ["HST", "SDSS", "unWISE"], "p_double": p}
    row |= {"surveys_able": [] if p is None else ["HST", "SDSS"], "prior": 0.09, "threshold": 0.5, "flags": 0}
    row |= {"tier": tier([float("nan") if p is None else p], 0.5, 10.0)[0], "saturated": False}
    assert row["tier"] in TIERS
    if p is not None:
        row |= {"p_prior": p / 5, "sep_network_arcsec": true[0] or 1.0}
    if measured and true[0]:
        row |= {"n_components": 2, "sep_arcsec": true[0], "sep_arcsec_err": 0.02, "pa_deg": true[1], "flags": 2}
        row |= {"pa_deg_err": 1.0, "pa_ambiguous": name == "c/1", "p_chance": 0.003, "p_fit": 0.9}
    return row | _PROVENANCE
