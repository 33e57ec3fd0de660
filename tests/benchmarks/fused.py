"""Sources that two or three surveys have seen: is the probability of all together what it says, and better than one's?

python -m tests.benchmarks fused                  # a few hundred sources, minutes
python -m tests.benchmarks fused --fields 4000

Sources are drawn as stamps.toml says, stars and galaxies once, and each survey sees them with noise, point-spread
function and filters of its own. None is of a set that anything was learnt from.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.folder import Folder
from models.judgement import calibration
from models.registry import Registry
from models.runtime import Predictor
from models.spec import get_spec
from models.visual_rates import FALSE, at_false
from models.visual_standing import VisualStanding
from pipeline.fusion import fused
from pipeline.simulate.stamp_chances import draw_sky, expose
from pipeline.simulate.stamps import described, grid, one_stacked
from tests.benchmarks.figures import figure, heading
from tests.benchmarks.sets import kept
from tests.benchmarks.stamps import ASKED, DESCRIPTION

FEW = 600
_PART = 80_000  # of no set

Image = NDArray[np.float32]


def drawn(number: int, most: int = 3) -> list[tuple[Image, dict]]:
    """Return the stacks of one source: images and rows of the index, of two surveys or more."""
    description = described(DESCRIPTION)
    rng = np.random.default_rng([description.seed, _PART, number])
    names = sorted(rng.choice(list(ASKED), int(rng.integers(2, most + 1)), replace=False))
    sky = draw_sky(description, rng, max(grid(name).reach for name in names))
    found = []
    for name in names:
        own = np.random.default_rng([description.seed, _PART, number, crc32(name.encode())])
        scene = expose(description, name, sky, own, f"{number}")
        image, row = one_stacked(description, scene, _PART, number)
        found.append((image, row | {"number": number}))
    return found


def scored(workspace: Folder, stacks: list[tuple[Image, dict]]) -> tuple[pd.DataFrame, VisualStanding]:
    """Return the index of stacks with what the production model says of each, and what its logits mean."""
    registry = Registry(workspace)
    entry = registry.resolve("visualbinary@production")
    spec = get_spec(entry.name)
    predictor = Predictor(spec, registry.load_weights(entry))
    index = pd.DataFrame([row for _, row in stacks])
    parts = []
    for _, rows in index.groupby("survey"):
        images = np.stack([stacks[place][0] for place in rows.index])
        parts.append(pd.DataFrame(predictor.columns(images, rows[list(spec.columns)].to_numpy(float)), rows.index))
    return index.join(pd.concat(parts)), VisualStanding.of(entry.card, entry.folder.url("card.json"))


def main(sources: int = FEW) -> None:
    """Print how far the fused probability holds, and what it finds, beside each source's best single survey."""
    heading("double or single, by two and three surveys together")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        stacks = [one for found in pool.map(drawn, range(sources), chunksize=16) for one in found]
    with kept() as workspace:
        index, standing = scored(workspace, stacks)
    evidence = standing.evidence(index)
    first = index.drop_duplicates("number").set_index("number")
    by_source = index.groupby("number")
    # What a survey that sees it best has, the others do not take away.
    about = pd.DataFrame({
        "label": first["label"], "sep_arcsec": first["sep_arcsec"], "delta_mag": by_source["delta_mag"].min(),
        "snr_1": by_source["snr_1"].max().clip(20, 500), "psf_fwhm_arcsec": by_source["psf_fwhm_arcsec"].min(),
    })  # fmt: skip
    single = standing.odds(evidence)
    product = np.stack([evidence[rows].sum(0) for _, rows in sorted(by_source.indices.items())])
    sharpest = index["psf_fwhm_arcsec"].groupby(index["number"]).idxmin()
    for name, odds in (
        ("all surveys", standing.odds(evidence, index["number"].to_numpy())),
        ("their plain product", fused(product, standing.shares)),
        ("the sharpest one", single[sharpest.to_numpy()]),
    ):
        told = calibration(about["label"].to_numpy(float), standing.p_prior(odds, 0.5))
        figure(f"{name}: Brier skill", told["brier_skill"], "> 0", told["brier_skill"] > 0, f"{len(about)} sources")
        right = told["ece_middle_if_right"]  # 0.02 would be asked of so many that chance makes less
        figure(f"{name}: ECE, 0.05 < p < 0.95", told["ece_middle"], f"<= {max(right, 0.02):.4f}",
               told["ece_middle"] <= max(right, 0.02), "95% limit of right probabilities")  # fmt: skip
        at = at_false(about, odds, FALSE[0])
        if at["completeness"] is not None:
            figure(f"{name}: completeness at {FALSE[0]:.1%} false", at["completeness"], "-", None,
                   "{:.3f} to {:.3f}".format(*at["interval"]))  # fmt: skip


if __name__ == "__main__":
    main(4000)
