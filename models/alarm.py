"""Whether a model in use still sees what it has learnt from: the verdict on its log, as table, picture and metrics."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from catalogs.figures import COLORS, Picture, canvas, embed
from catalogs.folder import Folder
from models import monitor
from models.drift import compare, found_and_expected
from models.reference import COMPARED, Reference
from models.registry import Entry
from pipeline.settings import DriftSettings

__all__ = ["Verdict", "judge", "metrics", "picture"]

_LATEST = 100  # batches that are looked at one by one; all together they count in any case
_COLUMNS = 5  # panels in a row


class Verdict(NamedTuple):
    """What the log of a model tells.

    Parameters
    ----------
    log : pandas.DataFrame
        Its rows.
    parts : pandas.DataFrame
        From `models.drift.compare`: all batches together, a survey (or filter, or season) each.
    batches : pandas.DataFrame
        The same of each of the latest batches, whatever is in it.
    """

    log: pd.DataFrame
    parts: pd.DataFrame
    batches: pd.DataFrame

    @property
    def is_alarm(self) -> bool:
        """Whether anything has drifted."""
        return bool(self.parts["is_alarm"].any() or self.batches["is_alarm"].any())

    @property
    def alarms(self) -> list[str]:
        """What has drifted, where, and by how much: a line each."""
        return [*_lines(self.parts, self.parts.columns[0]), *_lines(self.batches, "batch")]


def _lines(table: pd.DataFrame, part: str) -> Iterator[str]:
    for row in table[table["is_alarm"]].to_dict("records"):
        yield (
            f"{part} {row[part] or 'unknown'}: {row['statistic']} ({row['kind']}) has gone from {row['before']:.3g} to "
            f"{row['now']:.3g}: PSI {row['psi']:.2f}, KS {row['ks']:.2f}, p {row['p']:.1g}"
        )


def judge(
    workspace: Folder, entry: Entry, by: str = "survey", since: float | None = None,
    settings: DriftSettings | None = None, log: monitor.Log | None = None,
) -> Verdict:  # fmt: skip
    """Compare the log of a model with what it has learnt from.

    Parameters
    ----------
    workspace : Folder
        Holds the log.
    entry : Entry
        The model.
    by : str
        survey, filter or season: parts that are looked at apart.
    since : float, optional
        MJD of the earliest science images that count.
    settings : DriftSettings, optional
        What is an alarm.
    log : Log, optional
        Of that model, if it is at hand.

    Raises
    ------
    CorruptModel
        If the model's card does not say what it has learnt from.
    """
    reference = Reference.of(entry.card, entry.folder.url("card.json"))
    found = (log or monitor.Log(workspace, entry.id)).rows(since)
    latest = found.groupby("batch", sort=False)["mjd_max"].max().sort_values(kind="stable").index[-_LATEST:]
    recent = found[found["batch"].isin(latest)]
    # Either table's rows count in the other: what may be alarmed by chance is shared by all of them.
    n_parts, n_batches = (rows.loc[rows["n"] > 0, one].nunique() * len(COMPARED)
                          for rows, one in ((found, by), (recent, "batch")))  # fmt: skip
    batches = compare(reference, recent, ("batch",), settings, n_parts)
    return Verdict(found, compare(reference, found, (by,), settings, n_batches), batches)


def picture(entry: Entry, log: pd.DataFrame) -> Picture:
    """Return histograms of all that a log holds, over those that are expected of it."""
    reference = Reference.of(entry.card, entry.folder.url("card.json"))
    table = compare(reference, log, ()).set_index("statistic")
    rows = -(-len(COMPARED) // _COLUMNS)
    figure, axes = canvas(rows, _COLUMNS, width=13, height=2.1 * rows)
    for one, axis in zip(COMPARED, axes.flat, strict=False):
        found, expected = found_and_expected(reference, log, one)
        axis.fill_between(one.edges[:-1], expected, step="post", color="#bbbbbb", label="as learnt")
        is_alarm = len(table) and table.loc[one.name, "is_alarm"]
        color = COLORS[1] if is_alarm else COLORS[0]
        axis.step(one.edges[:-1], found, where="post", color=color, linewidth=1, label="now")
        axis.set_title(f"{one.name}: PSI {table.loc[one.name, 'psi']:.2f}" if len(table) else one.name, color=color)
        axis.set_xlim(*_limits(one.edges, found + expected))
    for axis in axes.flat[len(COMPARED) :]:
        axis.set_axis_off()
    axes.flat[-1].legend(*axes.flat[0].get_legend_handles_labels(), loc="center", fontsize=10, frameon=False)
    return embed(figure, f"Histograms of what {entry.id} was given and said, over those of its training", wide=True)


def _limits(edges: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    filled = np.flatnonzero(counts)
    return (edges[filled[0]], edges[filled[-1] + 1]) if len(filled) else (edges[0], edges[-1])


class _Families(Collector):
    """Metrics that were made before they are asked for."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self.families = families

    def collect(self) -> Iterator[Metric]:
        yield from self.families


def metrics(entry: Entry, verdict: Verdict) -> bytes:
    """Return a verdict in Prometheus's text format.

    ``skysift_drift_psi`` and ``skysift_drift_alarm`` by model, statistic and what the verdict tells apart (survey,
    filter or season), ``skysift_scored_total`` by model, survey and tier, ``skysift_last_mjd`` by model.
    """
    by = next(map(str, verdict.parts.columns), "survey")
    names = ["model", by, "statistic"]
    psi = GaugeMetricFamily("skysift_drift_psi", "Population stability index against the training set", labels=names)
    alarm = GaugeMetricFamily("skysift_drift_alarm", "1 where it is an alarm", labels=names)
    for row in verdict.parts.to_dict("records"):
        labels = [entry.id, str(row[by]), row["statistic"]]
        psi.add_metric(labels, row["psi"])
        alarm.add_metric(labels, float(row["is_alarm"]))
    scored = CounterMetricFamily("skysift_scored", "Candidates in the log", labels=["model", "survey", "tier"])
    for survey, rows in verdict.log.groupby("survey"):
        for tier in ("real", "uncertain", "bogus"):
            scored.add_metric([entry.id, str(survey), tier], float(rows[f"n_{tier}"].sum()))
    last = GaugeMetricFamily("skysift_last_mjd", "MJD of the latest science image in the log", labels=["model"])
    if verdict.log["mjd_max"].notna().any():
        last.add_metric([entry.id], float(verdict.log["mjd_max"].max()))
    registry = CollectorRegistry()
    registry.register(_Families([psi, alarm, scored, last]))
    return bytes(generate_latest(registry))
