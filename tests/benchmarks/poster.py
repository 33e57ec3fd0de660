"""The poster's protocol (Gezer et al.): ResNet34 on 300 stamps of its group 3, 70/15/15, 40 epochs; beside it ours.

Both are judged on the same stacks of the frozen benchmark, which neither has learnt from.
"""

import pandas as pd

from catalogs.folder import Folder
from cluster.local import ray_session
from models.fit import fit
from models.registry import Registry
from models.visual_judgement import judge, report
from models.visual_lessons import asked, bin_code, read_index, split
from models.visual_standing import VisualStanding
from pipeline.settings import StampSetSettings
from pipeline.stamps import surveys, training
from pipeline.stamps.training import StampSet
from tests.benchmarks.figures import figure, heading
from tests.benchmarks.sets import complete, kept
from tests.benchmarks.stamps import made, scored

STAMPS, FEW = 300, 512


def main(stacks: int = FEW) -> None:
    """Train as the poster does, then print how both networks do on so many stacks a survey."""
    heading(f"the poster's protocol: {STAMPS} stamps, 70/15/15")
    with kept() as workspace:
        entries = [Registry(workspace).resolve(name) for name in (_trained(workspace), "visualbinary@production")]
        index = read_index(workspace, made(workspace, stacks))
        index = index[index["survey"].map(_is_theirs)]
        for entry in entries:
            told = judge(scored(workspace, entry, index), VisualStanding.of(entry.card, entry.id))
            print(report(told))
            for name in ("accuracy", "macro"):
                value = told["classification"][name]
                figure(f"{entry.id}: {name}", value if name == "accuracy" else value["f1"], "-", None)


def _is_theirs(survey: str) -> bool:
    return surveys.group(survey, scheme="poster") == 3


def _trained(workspace: Folder) -> str:
    """Train on stamps of the surveys in the poster's group; return the model's name."""
    stage = StampSet(workspace, StampSetSettings(stacks=training.STACKS, seed=None, description=None))
    keys = [key for key in stage.keys() if _is_theirs(stage.survey(key))]  # noqa: SIM118
    complete(stage, keys)
    tables = [training.read_index(workspace, key).iloc[: STAMPS // len(keys)] for key in keys]
    index = pd.concat(tables, ignore_index=True)
    index = index.assign(bin_code=bin_code(index["label"].to_numpy(), index["sep_arcsec"].to_numpy(float)), weight=1.0)
    settings = asked(workspace, "poster", None, {"validation": 0.15, "test": 0.15})
    examples = split(index, settings).sort_values(["path", "row"], ignore_index=True)
    with ray_session(2):
        return f"poster@{fit(workspace, 'poster', examples, {'data': {'stamps': STAMPS}}, settings, 1, False)}"
