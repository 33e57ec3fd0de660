"""Rows of the star table for tests: what every row must have."""

from typing import Any

__all__ = ["star"]


def star(p_eb: float = 0.5, threshold: float = 0.5, **columns: Any) -> dict[str, Any]:
    """Return the columns of a star that may not be null, but for its identifier and its provenance."""
    row = {"eb_id": 1, "ref_epoch": 2000.0, "sectors": [1], "cadence_s": [120.0], "n_cadences": 17_000}
    row |= {"t_start": 1325.3, "t_end": 1353.2, "duty_cycle": 0.85, "n_segments": 2}
    row |= {"p_eb": p_eb, "threshold": threshold, "tier": "high" if p_eb >= threshold else "none", "score_max": p_eb}
    return row | columns
