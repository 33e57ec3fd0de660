"""A workspace with stamps, stacks and measures of a few sources, and a model that has learnt nothing."""

import numpy as np
import pandas as pd
import torch

from catalogs import write
from catalogs.folder import Folder
from catalogs.stamp_measures import MEASURES, STAMP_MEASURES
from catalogs.stamp_plan import STAMP_PLAN
from catalogs.stamps import STACKS, STAMPS, StampFlag
from models.registry import Registry
from models.spec import get_spec
from pipeline import stores
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.settings import Settings
from pipeline.stage import InputOutcome, Product, Stage, State
from pipeline.stamps import layout, plan
from pipeline.stores import Array, Template

__all__ = ["STANDING", "SURVEYS", "measured", "pixels", "save", "stacked"]

PARTITION = 8

#: Survey (as its folder is called) → name, arcsec a cell, cells a side, FWHM, filters, what is said of all its stacks.
SURVEYS = {
    "pan-starrs": ("Pan-STARRS", 0.25, 64, 1.2, "g,r", 0),
    "hst": ("HST", 0.05, 128, 0.09, "F606W", 0),
    "unwise": ("unWISE", 2.75, 64, 6.1, "W1", int(StampFlag.UNABLE)),
}

STANDING = {"every": {"scale": 1.0, "offset": 0.0}, "shares": [1 / 8] * 8, "threshold": 0.5, "prior": 0.09}


def pixels(survey: str, number: int) -> np.ndarray:
    """Return a star, with a second one for every second number."""
    _, scale, side, fwhm, *_ = SURVEYS[survey]
    y, x = (np.indices((side, side)) - (side - 1) / 2) * scale
    sigma = fwhm / 2.355
    image = 500 * np.exp(-(x**2 + y**2) / 2 / sigma**2)
    image += (number % 2) * 300 * np.exp(-((x - 1) ** 2 + y**2) / 2 / sigma**2)
    return (image + np.random.default_rng(number).normal(0, 1, image.shape)).astype(np.float32)


class _Given(Stage):
    """Writes what it is given, as the stage of that name does."""

    version = 1

    def __init__(self, workspace: Folder, name: str, key: Key, upstream: dict[str, str], write: object) -> None:
        super().__init__(workspace, Settings())
        self.name, self.key, self.source, self.write = name, key, upstream, write

    def keys(self) -> list[Key]:
        return [self.key]

    def upstream(self, key: Key) -> dict[str, str]:
        return self.source

    def inputs(self, key: Key) -> list[str]:
        return ["all"]

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        return Product(self.write(), 1, [InputOutcome("all", State.DONE)])


def _index(survey: str, part: int, sources: dict[str, int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    name, scale, side, fwhm, filters, flags = SURVEYS[survey]
    middle = (side - 1) / 2
    stacks = [{
        "row": part * PARTITION + place, "source_id": source, "ra": 10.0 + number, "dec": -5.0, "survey": name,
        "filters": filters, "n_filters": filters.count(",") + 1, "method": "single" if "," not in filters else
        "weighted", "x0": middle, "y0": middle, "pixscale": scale, "wavelength_um": 0.6, "mjd": 55000.0, "noise": 1.0,
        "snr": 300.0, "fwhm_arcsec": fwhm, "ellipticity": 0.1, "centroid_shift": 0.0, "flags": flags,
    } for place, (source, number) in enumerate(sources.items())]  # fmt: skip
    stamps = [
        {**one, "filter": band, "file": f"{one['source_id']}_{name}_{band}.fits", "filter_row": place}
        for one in stacks for place, band in enumerate(filters.split(","))
    ]  # fmt: skip
    for place, one in enumerate(stamps):
        one["row"] = part * PARTITION * 4 + place
    return pd.DataFrame(stacks), pd.DataFrame(stamps)


def _plan(workspace: Folder, survey: str, part: int, stamps: pd.DataFrame) -> None:
    before = plan.load(workspace, survey).to_pylist() if survey in plan.surveys(workspace) else []
    rows = [
        {"file": one["file"], "size": 1, "mtime": 0.0, "source_id": one["source_id"], "survey": one["survey"],
         "filter": one["filter"], "part": part, "verdict": plan.ACCEPTED} for one in stamps.to_dict("records")
    ]  # fmt: skip
    known = {row["file"] for row in before}
    every = STAMP_PLAN.of([*before, *(row for row in rows if row["file"] not in known)])
    write.write(workspace, plan.path(survey), every, STAMP_PLAN)


def stacked(workspace: Folder, survey: str, part: int, sources: dict[str, int]) -> None:
    """Commit a partition of stamps and one of stacks: source → number, see `pixels`; a negative one has no pixel."""
    side = SURVEYS[survey][2]
    stacks, stamps = _index(survey, part, sources)
    inner = Key("stamps", survey, part)

    def index() -> list[Object]:
        rows = STAMPS.of(stamps[[name for name in STAMPS.names if name in stamps]].to_dict("records"))
        return [Object(*write.write(workspace, f"stamps/{survey}.index/part-{part:05d}.parquet", rows, STAMPS))]

    _plan(workspace, survey, part, stamps)
    first = _Given(workspace, layout.INGEST, inner, {}, index)
    first.execute(inner)
    key = Key("stacks", survey, part)

    def store() -> list[Object]:
        template = Template(
            (Array("stack", "float32", ("row", "y", "x"), np.nan, {}),), {"y": side, "x": side}, PARTITION, 1, {},
            {"rows": "row", "rows_per_partition": PARTITION},
        )  # fmt: skip
        stores.create(workspace, layout.stacks_store(key), template, part + 1)
        images = [np.full((side, side), np.nan, np.float32) if n < 0 else pixels(survey, n) for n in sources.values()]
        found = stores.write(workspace, layout.stacks_store(key), part, {"stack": np.stack(images)})
        table = STACKS.of(stacks.to_dict("records"))
        return [*found, Object(*write.write(workspace, layout.stacks_index(key), table, STACKS))]

    _Given(workspace, layout.STACK, key, first.require(layout.INGEST, inner), store).execute(key)


def measured(workspace: Folder, part: int, sources: list[str]) -> None:
    """Commit a partition of measures of sources: pairs, 1 arcsec apart."""
    key = Key("measures", "pan-starrs", part)
    pair = {"n_components": 2, "n_images": 3, "sep_arcsec": 1.0, "sep_arcsec_err": 0.01, "pa_deg": 90.0,
            "pa_deg_err": 0.5, "pa_ambiguous": False, "delta_mag": 0.5, "ra_2": 12.0, "dec_2": -5.0, "p_fit": 0.99,
            "dm_limit_1p0": 3.5}  # fmt: skip
    alone = {"survey": "Pan-STARRS", "filter": "g", "delta_mag": 0.5, "delta_mag_err": 0.02, "delta_chi2": 900.0,
             "snr_1": 250.0, "fwhm_arcsec": 1.1}  # fmt: skip

    def tables() -> list[Object]:
        whole = [{"source_id": one, **pair, "gaia_id_1": None if place else 2**62 + 1}
                 for place, one in enumerate(sources)]  # fmt: skip
        single = [{"source_id": one, **alone} for one in sources]
        return [
            Object(
                *write.write(workspace, f"measures/{key.where}.{name}/part-{part:05d}.parquet", table.of(rows), table)
            )
            for name, table, rows in (("sources", MEASURES, whole), ("stamps", STAMP_MEASURES, single))
        ]

    _Given(workspace, layout.MEASURE, key, {}, tables).execute(key)


def save(workspace: Folder, alias: str | None = "production", seed: int = 0, **standing: object) -> str:
    """Register a network with fresh weights; return its id."""
    torch.manual_seed(seed)
    registry = Registry(workspace)
    made = registry.save("visualbinary", get_spec("visualbinary").network().state_dict(),
                         {"standing": STANDING | standing}, {})  # fmt: skip
    if alias:
        registry.set_alias("visualbinary", alias, made)
    return made
