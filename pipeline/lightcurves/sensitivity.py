"""Pictures of what the catalogue finds, and of what it takes for an eclipsing binary that is none."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from catalogs import write
from catalogs.folder import Folder
from catalogs.pages import COLORS, Picture, Section, canvas, embed
from catalogs.recovery import COMPLETENESS, INJECTIONS
from pipeline.lightcurves import recovery
from pipeline.lightcurves.trials import class_found
from pipeline.metrics import wilson

__all__ = ["alarms", "completeness_map", "rates", "section"]

_ACROSS = 4
_NAMES = {"inverted": "upside down", "simulated": "simulated ", "labelled": "labelled "}


def completeness_map(table: pd.DataFrame, caption: str) -> Picture:
    """Draw the share found over period and depth, a panel a bin of Tmag.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of `catalogs.recovery.COMPLETENESS`.
    caption : str
        Line below.
    """
    known = table.groupby("tmag_low")["completeness"].transform("count") > 0
    slices = [own for _, own in table[known].groupby("tmag_low")] or [
        table[table["tmag_low"] == table["tmag_low"].min()]
    ]
    across = min(_ACROSS, len(slices))
    rows = -(-len(slices) // across)
    figure, axes = canvas(rows, across, width=13.0 * across / _ACROSS, height=2.9 * rows, sharex=True, sharey=True)
    for axis, own in zip(axes.flat, slices, strict=False):
        _slice(axis, own)
    for axis in list(axes.flat)[len(slices) :]:
        axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("period (d)")
    for axis in axes[:, 0]:
        axis.set_ylabel("primary depth")
    words = [f"Tmag {own['tmag_low'].iloc[0]:g} to {own['tmag_high'].iloc[0]:g}" for own in slices]
    mean = float(table["completeness"].mean())
    return embed(
        figure,
        f"Share found over period and depth; mean {mean:.2f}. Panels: {', '.join(words)}.",
        caption,
        wide=across > 2,
    )


def _slice(axis: Axes, own: pd.DataFrame) -> None:
    grid = own.pivot(index="depth_low", columns="period_low", values="completeness")
    across = np.r_[grid.columns.to_numpy(float), own["period_high"].max()]
    along = np.r_[grid.index.to_numpy(float), own["depth_high"].max()]
    values = grid.to_numpy(float)
    axis.pcolormesh(across, along, np.ma.masked_invalid(values), cmap="Blues", vmin=0, vmax=1, linewidth=0)
    for (row, column), share in np.ndenumerate(values):
        place = np.sqrt(across[column] * across[column + 1]), np.sqrt(along[row] * along[row + 1])
        text, color = ("–", "#888888") if np.isnan(share) else (f"{100 * share:.0f}", "w" if share > 0.6 else "#333333")
        axis.text(*place, text, ha="center", va="center", fontsize=7.5, color=color)
    axis.set(xscale="log", yscale="log", title=f"Tmag {own['tmag_low'].iloc[0]:g} – {own['tmag_high'].iloc[0]:g}")
    axis.grid(False)


def rates(trials: pd.DataFrame) -> pd.DataFrame:
    """Count what is taken for an eclipsing binary, by kind of trial.

    Parameters
    ----------
    trials : pandas.DataFrame
        Rows of `catalogs.recovery.INJECTIONS`.

    Returns
    -------
    pandas.DataFrame
        sort, kind, trials, high, high_or_low (of them), share (of tier high), lower, upper (95%, Wilson).
    """
    rows = []
    for (sort, kind), own in trials.groupby(["sort", "kind"], sort=True):
        high, both = int((own["tier"] == "high").sum()), int((own["tier"] != "none").sum())
        lower, upper = wilson(high, len(own))
        rows.append((sort, kind, len(own), high, both, high / len(own), lower, upper))
    columns = ["sort", "kind", "trials", "high", "high_or_low", "share", "lower", "upper"]
    return pd.DataFrame(rows, columns=columns)


def alarms(counted: pd.DataFrame, caption: str) -> Picture:
    """Draw the share of each kind of star that is no eclipsing binary and is taken for one.

    Parameters
    ----------
    counted : pandas.DataFrame
        From `rates`.
    caption : str
        Line below.
    """
    own = counted[counted["sort"] != "injected"].reset_index(drop=True)
    figure, axes = canvas(width=13.0, height=0.8 + 0.32 * max(len(own), 2))
    axis, rows = axes[0, 0], np.arange(len(own))
    axis.barh(rows, 100 * own["share"], height=0.6, color=COLORS[1], alpha=0.75)
    axis.hlines(rows, 100 * own["lower"], 100 * own["upper"], color="#333333", linewidth=1.5)
    names = [
        f"{_NAMES[row.sort]}{'' if row.sort == 'inverted' else row.kind}  ({row.high} of {row.trials})"
        for row in own.itertuples()
    ]
    axis.set_yticks(rows, names)
    axis.set(xlabel="taken for an eclipsing binary, tier high (%)", ylim=(max(len(own), 1) - 0.4, -0.6), xlim=(0, None))
    axis.grid(axis="y", visible=False)
    return embed(figure, f"False alarms: {'; '.join(names) or 'none tried'}.", caption, wide=True)


def section(workspace: Folder, model_id: str, systems: pd.DataFrame) -> list[Section]:
    """Return the part of the report on completeness and reliability; nothing where they were not measured.

    Parameters
    ----------
    workspace : Folder
        Holds the tables.
    model_id : str
        Whose they are.
    systems : pandas.DataFrame
        Rows of the catalogue.
    """
    found = recovery.read(workspace, model_id)
    if found is None:
        return []
    trials = write.read(workspace, recovery.path(model_id, INJECTIONS), INJECTIONS).to_pandas()
    counted, injected = rates(trials), int((trials["sort"] == "injected").sum())
    text = (
        f"{injected:,} simulated eclipsing binaries were put into the light curves of quiet stars and looked for as "
        f"the catalogue does; {len(trials) - injected:,} light curves of what is none were looked at the same way: "
        "real ones upside down, and stars that vary without eclipses. Each row of the catalogue carries the values at "
        "its own place, from the trials that were there when it was made."
    )
    binned = int(found.completeness["completeness"].notna().sum())
    pictures = [
        completeness_map(
            found.completeness,
            f"Per cent found (tier high) over true period and primary depth in {binned} of {len(found.completeness)} "
            f"bins; those with few injections borrow from their neighbours ({COMPLETENESS.name}.parquet tells).",
        ),
        alarms(counted, "What is no eclipsing binary and is taken for one, with 95% intervals."),
    ]
    return [Section("What is found, and what is false", text, _by_class(systems), pictures)]


def _by_class(systems: pd.DataFrame) -> pd.DataFrame:
    own = systems[systems["tier"] != "none"]
    grouped = own.assign(klass=class_found(own)).groupby(["tier", "klass"], sort=True)
    columns = {"rows": grouped.size()}
    columns |= {f"mean {name}": grouped[name].mean().round(3) for name in ("completeness", "reliability")}
    return pd.DataFrame(columns).reset_index()
