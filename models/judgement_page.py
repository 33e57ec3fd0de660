"""The report on models of triplets: one page, the same as Markdown, its numbers as JSON, its figures as PNG."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from catalogs.folder import Folder
from catalogs.pages import Page, Picture, Section
from models.groups import GROUPS

__all__ = ["markdown", "sections", "write"]

Told = Mapping[str, Mapping[str, Any]]

_LEAD = """Each model is judged on candidates that it did not learn from. Its operating point was chosen on other
candidates, so that at most the stated share of the real ones is missed. AUCPR depends on the share of real, which
stands beside it. Intervals are of 95%: Wilson's of counts, by drawing whole fields again of the others."""

_RARE = """Precision at the operating point if this share of the candidates were real. In a survey real ones are
rare: between 1 in 100 and 1 in 10,000."""

_CALIBRATION = """Both labels weigh the same, as p_real is the probability where half are real. ECE: expected
calibration error in ten bins of equal count; of 0.05 < p < 0.95 with the limit that it stays below (95%) if every
probability is right."""


def sections(told: Told, compared: Sequence[Mapping[str, Any]], figures: Mapping[str, Picture]) -> list[Section]:
    """Return the parts of the report.

    Parameters
    ----------
    told : mapping
        Model → its verdict, from `models.judgement.judge`.
    compared : sequence of dict
        From `models.judgement.compare`, each with model and against.
    figures : mapping
        From `models.judgement_figures.figures`.
    """
    parts = [
        Section("Verdict", _LEAD, _table({name: _overall(one) for name, one in told.items()})),
        Section("Where real ones are rare", _RARE, _table({name: _rare(one) for name, one in told.items()})),
        Section("Calibration", _CALIBRATION, _table({name: _calibrated(one) for name, one in told.items()})),
    ]
    if compared:
        rows = [{"model": one["model"], "against": one["against"], "candidates": one["n"],
                 "ratio of bogus let pass, 1% missed": _number(one["ratio"], one["ratio_interval"]),
                 "more AUCPR": _number(one["aucpr_more"], one["aucpr_more_interval"])} for one in compared]  # fmt: skip
        parts.append(Section("Side by side", "On the same fields, drawn together.", pd.DataFrame(rows)))
    parts += [Section("Figures", figures=list(figures.values()))]
    for by, meaning in GROUPS.items():
        if table := [_group(model, name, found) for model, one in told.items() for name, found in
                     one["by"].get(by, {}).items()]:  # fmt: skip
            parts.append(Section(f"By {by}", f"{meaning.capitalize()}.", pd.DataFrame(table)))
    return parts


def _overall(told: Mapping[str, Any]) -> dict[str, str]:
    counts = f"{told['n']}, {told['positives']} of them real, in {told['fields']} fields"
    return {
        "candidates": counts + (f"; {told['unscored']} without a score" if told["unscored"] else ""),
        "threshold": f"{told['threshold']:.4g}",
        "precision": _number(told["precision"], told["precision_interval"]),
        "recall": _number(told["recall"], told["recall_interval"]),
        "F1": _number(told["f1"]),
        "real missed (FNR)": _number(told["fnr"], told["fnr_interval"]),
        "bogus let pass (FPR)": _number(told["fpr"], told["fpr_interval"]),
        f"AUCPR at {told['real_fraction'] or 0:.1%} real": _number(told["aucpr"], told["aucpr_interval"]),
        "AUCPR at half real": _number(told["aucpr_half"], told["aucpr_half_interval"]),
        "ROC AUC": _number(told["roc_auc"]),
        "FPR at FNR 1%": _number(told["fpr_at_fnr_1pc"], told["fpr_at_fnr_1pc_interval"]),
        "FNR at FPR 1%": _number(told["fnr_at_fpr_1pc"], told["fnr_at_fpr_1pc_interval"]),
    }


def _rare(told: Mapping[str, Any]) -> dict[str, str]:
    return {f"{float(share):.2%} real": _number(one["precision"], one["interval"])
            for share, one in told["precision_at"].items()}  # fmt: skip


def _calibrated(told: Mapping[str, Any]) -> dict[str, str]:
    found = told["calibration"]
    limit = _number(found["ece_middle_if_right"])
    return {
        "Brier skill": _number(found["brier_skill"]),
        "ECE": _number(found["ece"]),
        "ECE, 0.05 < p < 0.95": f"{_number(found['ece_middle'])} of {found['middle']}; if right, below {limit}",
    }


def _group(model: str, name: str, told: Mapping[str, Any]) -> dict[str, Any]:
    area = _number(told["aucpr"], told["aucpr_interval"])
    return {
        "model": model, "group": name, "real": told["tp"] + told["fn"], "bogus": told["fp"] + told["tn"],
        "FNR": _number(told["fnr"], told["fnr_interval"]), "FPR": _number(told["fpr"], told["fpr_interval"]),
        "AUCPR (share of real)": f"{area} ({told['real_fraction']:.0%})" if told["aucpr"] is not None else "–",
        "FPR at FNR 1%": _number(told["fpr_at_fnr_1pc"], told["fpr_at_fnr_1pc_interval"]),
    }  # fmt: skip


def _table(columns: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    table = pd.DataFrame(columns).fillna("–")
    return table.rename_axis("").reset_index()


def _number(value: float | None, interval: Sequence[float] | None = None) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" + (f" ({interval[0]:.4g} to {interval[1]:.4g})" if interval else "")


def markdown(page: Page, pictures: Mapping[str, Picture]) -> str:
    """Return a page as Markdown; its pictures stand beside it, by name."""
    names = {id(picture): name for name, picture in pictures.items()}
    lines = [f"# {page.title}", "", page.lead]
    for section in page.sections:
        lines += ["", f"## {section.heading}", "", *(" ".join(part.split()) for part in section.paragraphs)]
        if section.table is not None:
            heads = [str(name) for name in section.table.columns]
            rows = [[str(value).replace("|", "/") for value in row] for row in section.table.itertuples(index=False)]
            lines += ["", *(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))]
        for picture in section.figures:
            if (name := names.get(id(picture))) is not None:
                lines += ["", f"![{picture.alt}]({name})", "", picture.caption]
    return "\n".join(lines).rstrip() + "\n"


def write(folder: Folder, page: Page, told: Mapping[str, Any], pictures: Mapping[str, Picture]) -> str:
    """Write index.html, report.md, report.json and the figures to a folder; return the page's address."""
    for name, picture in pictures.items():
        folder.write(name, picture.png)
    folder.write("report.json", (json.dumps(told, indent=1, allow_nan=False) + "\n").encode())
    folder.write("report.md", markdown(page, pictures).encode())
    return page.write(folder, "index.html")
