"""The report of a workspace: one page that says what became of every input, and what was found."""

import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import escape

from catalogs import schema
from catalogs.binaries import is_clean
from catalogs.folder import Folder
from catalogs.pages import Link, Page, Picture, Section
from pipeline.lightcurves import accounts, atlas, charts, combine, gallery, overview, sensitivity
from pipeline.lightcurves.truth import Judgement, judge, precision_recall
from pipeline.settings import ReportSettings
from pipeline.stage import State

__all__ = ["PATH", "write_report"]

#: Where the report lies in the workspace.
PATH = "reports/eclipsing_binaries.html"

_SHOWN = [
    "tic_id",
    "eb_id",
    "ra",
    "dec",
    "tmag",
    "sectors",
    "p_eb",
    "tier",
    "period",
    "period_flag",
    "depth_1",
    "flags",
]


def write_report(
    workspace: Folder,
    truth: pd.DataFrame | None = None,
    held_out: Collection[int] | None = None,
    notes: Sequence[str] = (),
    settings: ReportSettings | None = None,
    card: Mapping[str, Any] | None = None,
    pages: Mapping[tuple[int, int], str] | None = None,
) -> str:
    """Write the report of the published catalogue.

    Parameters
    ----------
    workspace : Folder
        Holds everything; receives ``reports/eclipsing_binaries.html``.
    truth : pandas.DataFrame, optional
        What the stars truly are: tic_id, label ('EB' or not) and, if known, kind, period (d).
    held_out : collection of int, optional
        Stars the model has not seen in training; only these count against the truth. Needed with `truth`.
    notes : sequence of str
        Sentences that stand at the top.
    settings : ReportSettings, optional
        The probability from which a star is a candidate.
    card : mapping, optional
        The model's card; default the one in the workspace.
    pages : mapping, optional
        Star and system → vetting page, from `pipeline.recipes.draw_candidates`.

    Returns
    -------
    str
        Full address of the page.

    Raises
    ------
    Missing
        If there is no catalogue yet.
    ValueError
        If there is a truth, but it is not said which stars were held out.
    """
    if truth is not None and held_out is None:
        raise ValueError("held_out: with a truth, name the stars that the model was not trained on")
    systems = atlas.ranked(workspace)
    stars = systems.drop_duplicates("tic_id", ignore_index=True)
    threshold = _threshold(settings, stars)
    model_id = combine.current_model(workspace) or ""
    taken = accounts.take(workspace, model_id)
    judgement = None
    if truth is not None:
        judgement = judge(stars, truth, held_out, threshold)
    sections = [
        accounts.summary(taken),
        overview.section(systems),
        _scores(stars, judgement, threshold),
        *_verdict(judgement),
        *gallery.examples(workspace, stars, truth, judgement, threshold),
        _candidates(systems, truth, held_out, threshold, pages or {}),
        *sensitivity.section(workspace, model_id, systems),
        *_model(workspace, card, model_id),
        *accounts.refused(taken),
        _next(workspace, stars),
    ]
    facts = _facts(taken, stars, threshold) | {"clean systems": int(is_clean(systems["tier"], systems["flags"]).sum())}
    links = [Link(f"vetting pages of {len(pages):,} candidates", "candidates/index.html")] if pages else []
    page = Page("Eclipsing binaries", sections, _lead(stars, notes), facts, links)
    return page.write(workspace, PATH)


def _threshold(settings: ReportSettings | None, stars: pd.DataFrame) -> float:
    """Return what was asked for, or the threshold that the catalogue was made with."""
    asked = (settings or ReportSettings.load(None, "report")).threshold
    return asked if asked is not None else float(stars["threshold"].iloc[0]) if len(stars) else 0.5


def _prior(stars: pd.DataFrame) -> str:
    known = stars["p_prior"].dropna()
    if not len(known):
        return "The model is not calibrated: take it as a score."
    return f"It holds where {known.iloc[0]:.3g} of the stars are eclipsing binaries (p_prior)."


def _lead(stars: pd.DataFrame, notes: Sequence[str]) -> str:
    sectors = sorted({int(sector) for row in stars["sectors"] for sector in row})
    where = f"sector {sectors[0]}" if len(sectors) == 1 else f"{len(sectors)} sectors, {_ranges(sectors)}"
    models = ", ".join(sorted(stars["model_id"].unique()))
    return " ".join(
        [
            f"{len(stars):,} stars of {where if sectors else 'no sector'}, scored by {models or 'no model'}.",
            *notes,
        ]
    )


def _ranges(numbers: Sequence[int]) -> str:
    """Return sorted numbers as people write them, ``1–3, 7``."""
    cuts = np.flatnonzero(np.diff(numbers) > 1) + 1
    runs = [list(run) for run in np.split(np.array(numbers), cuts)]
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs if run)


def _facts(taken: accounts.Accounts, stars: pd.DataFrame, threshold: float) -> dict[str, int]:
    inputs = taken.stages[[str(state) for state in State]]
    return {
        **{noun: int(inputs.loc[stage].sum()) for stage, noun in accounts.INPUTS.items()},
        "stars": len(stars),
        f"candidates, p_eb ≥ {threshold:.3g}": int(stars["p_eb"].ge(threshold).sum()),
        "inputs rejected": int(inputs[State.REJECTED].sum()),
        "inputs failed": int(inputs[State.FAILED].sum()),
    }


def _scores(stars: pd.DataFrame, judgement: Judgement | None, threshold: float) -> Section:
    if judgement is None:
        groups = {"all stars": stars["p_eb"].tolist()}
        caption = f"p_eb of each star, from all its segments. {_prior(stars)}"
        second = charts.ranked(stars["p_eb"].tolist(), threshold, "How many candidates each threshold would give.")
        return Section("Probabilities", figures=[charts.histogram(groups, threshold, caption), second])
    scored = judgement.stars.dropna(subset="p_eb")
    groups = {
        name: scored.loc[scored["is_eb"] == is_eb, "p_eb"].tolist() for name, is_eb in (("not EB", False), ("EB", True))
    }
    caption = "p_eb of each star by what it truly is. Only stars that the model did not train on."
    (_, wrong), (missed, right) = judgement.confusion.tolist()
    point = (right / max(right + missed, 1), right / max(right + wrong, 1))
    curve = precision_recall(judgement.stars["is_eb"], judgement.stars["p_eb"])
    base = judgement.base_rate
    area = f"Area under the curve (AUCPR) {judgement.average_precision:.3f}; a coin reaches {base:.3f}."
    second = charts.trade(*curve, base, point, area)
    return Section("Probabilities", figures=[charts.histogram(groups, threshold, caption), second])


def _verdict(judgement: Judgement | None) -> list[Section]:
    if judgement is None or not len(judgement.stars):
        return []
    text = (
        f"Only the {len(judgement.stars):,} stars count that the model did not train on: no light curve "
        "of theirs, in any sector, was used to fit it or to choose its best epoch.\n\n"
        f"{judgement.base_rate:.0%} of them are eclipsing binaries. Where fewer are, precision is lower."
    )
    if judgement.unscored:
        text += f" {judgement.unscored} of them have no score (no segment long enough) and count as left."
    threshold = f"At the threshold, {judgement.threshold:.3g}."
    bars = (
        f"{threshold} Bars: 95% intervals (Wilson). EA, EB, EW: detached, semi-detached, contact binaries; "
        "the others pulsate, rotate, flare or keep still."
    )
    pictures = [
        charts.confusion(judgement.confusion, f"Stars. {threshold}"),
        charts.kinds(judgement.kinds(), bars),
    ]
    return [Section("Against the truth", text, judgement.rates(), pictures)]


def _candidates(
    systems: pd.DataFrame,
    truth: pd.DataFrame | None,
    held_out: Collection[int] | None,
    threshold: float,
    pages: Mapping[tuple[int, int], str],
) -> Section:
    found = systems[systems["p_eb"] >= threshold]
    table = found[_SHOWN].head(25)
    if truth is not None:
        columns = [name for name in ("kind", "period") if name in truth] or ["label"]
        renamed = truth[["tic_id", *columns]].rename(columns={name: f"true {name}" for name in columns})
        table = table.merge(renamed, on="tic_id", how="left").drop(columns=["ra", "dec", "tier"])
        table["labelled"] = ~table["tic_id"].isin(list(held_out or ()))
    linked = [_linked(*key, pages, truth is None) for key in zip(table["tic_id"], table["eb_id"], strict=True)]
    table["tic_id"] = pd.Series(linked, table.index, object)
    digits = {"ra": 4, "dec": 4, "tmag": 2, "p_eb": 4, "period": 5, "depth_1": 4, "true period": 5}
    table = table.round(digits)
    table.attrs["units"] = {column.name: column.unit for column in schema.STARS.columns if column.unit} | {
        "true period": "d"
    }
    text = (
        f"The best {len(table)} of {len(found):,} systems of stars with p_eb of at least {threshold:.3g}, from "
        f"{combine.CURRENT}. What their period_flag and flags mean stands in the file's own descriptions."
    )
    return Section("Top candidates", text, table)


def _linked(tic_id: int, eb_id: int, pages: Mapping[tuple[int, int], str], is_real: bool) -> Link | str:
    """Return the way to the vetting page, else to what others know of a real star."""
    page = pages.get((tic_id, eb_id)) or (is_real and f"https://exofop.ipac.caltech.edu/tess/target.php?id={tic_id}")
    return Link(str(tic_id), page) if page else str(tic_id)


def _model(workspace: Folder, card: Mapping[str, Any] | None, model_id: str) -> list[Section]:
    """Return the card in short and how training went; `card` if the model is not of this workspace."""
    name, _, version = model_id.rpartition("-")
    folder = f"models/{name}/{version}"
    if card is None and workspace.exists(f"{folder}/card.json"):
        card = json.loads(workspace.read(f"{folder}/card.json"))
    if card is None:
        return []
    figures = []
    for file, what in (("loss.png", "Loss"), ("accuracy.png", "Accuracy")):
        if workspace.exists(f"{folder}/{file}"):
            png = workspace.read(f"{folder}/{file}")
            figures.append(Picture(png, f"{what} by epoch", f"{what} on training and validation stars by epoch."))
    table = pd.DataFrame(_card(card), columns=["", model_id])
    return [Section("The model", f"From the card of {model_id}.", table, figures)]


def _card(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a reader asks first: what it learnt from, how, and how good it is on its own test stars."""
    data, settings, history = card.get("data", {}), card.get("settings", {}), card.get("history", [])
    rows = [("labels", str(data.get("labels", {}).get("file", "–")))]
    for fold, counts in data.get("counts", {}).items():
        text = "{stars} stars ({positive_stars} eclipsing binaries), {segments} segments".format(**counts)
        rows.append((f"{fold} set", text))
    rows.append(("split by", str(card.get("split", {}).get("by", "–"))))
    if history:
        spent = f"{len(history)} of {settings.get('epochs')} epochs, best {card.get('best_epoch')}"
        limit = settings.get("max_seconds")
        rows.append(("trained for", spent + (f", at most {limit:g} s" if limit else "")))
    rows += [(name, str(settings[name])) for name in ("batch_size", "learning_rate", "seed") if name in settings]
    found = card.get("metrics", {}).get("test", {}).get("stars", {})
    for name in ("precision", "recall"):
        if found.get(name) is not None:
            low, high = found[f"{name}_interval"]
            rows.append((f"{name} on its test stars", f"{found[name]:.3f} (95% {low:.3f} – {high:.3f})"))
    if found.get("aucpr") is not None:
        rows.append(("AUCPR on its test stars", f"{found['aucpr']:.3f}; a coin {found['positive_fraction']:.3f}"))
    return rows


def _next(workspace: Folder, stars: pd.DataFrame) -> Section:
    tic_id = int(stars["tic_id"].iloc[0]) if len(stars) else 0
    where = f"--workspace {shlex.quote(str(workspace))}"
    commands = {
        f"python -m jobs.explain {where} {tic_id}": "from a row back to its files and settings",
        f"python -m jobs.query {where} --min-score 0.9 --where 'tmag < 11'": "rows by any condition",
        f"python -m jobs.status {where} --outcomes ingest": "what became of each file, whole",
        f"python -m jobs.export {where} candidates.vot": "for TOPCAT, Aladin; also CSV, ECSV",
        f"tensorboard --logdir {shlex.quote(workspace.url('models'))}": "how training went",
    }
    lines = "\n".join(
        f"{escape(command)}\n    <span class=note># {escape(text)}</span>" for command, text in commands.items()
    )
    python = f'import pandas as pd\nstars = pd.read_parquet("{escape(workspace.url(combine.CURRENT))}")'
    return Section(
        "Where to look next",
        "From the folder of skysift, and in Python:",
        html=f"<pre>{lines}</pre><pre>{python}</pre>",
    )
