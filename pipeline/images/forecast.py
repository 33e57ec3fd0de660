"""What ingesting an archive of images would take."""

from collections.abc import Mapping

from catalogs.folder import Folder
from pipeline import manifest
from pipeline.images import plan
from pipeline.images.image import STAGE, key_of
from pipeline.settings import ImageSettings

__all__ = ["forecast"]

#: Bytes a pixel in the store and seconds a megapixel, one core, without and with the search of cosmic rays (measured).
_BYTES, _SECONDS, _RAYS_SECONDS = 5.0, 0.35, 1.1


def forecast(
    workspace: Folder,
    changes: Mapping[str, plan.Change],
    settings: ImageSettings,
    workers: int,
    overwrite: bool = False,
) -> str:
    """Return in words what ingesting these plans would do; what is committed already is left out.

    Parameters
    ----------
    workspace : Folder
        Where stores will go.
    changes : mapping
        Survey → its plan, from `pipeline.recipes.plan_images`.
    settings : ImageSettings
        Whether cosmic rays are looked for.
    workers : int
        Processes.
    overwrite : bool
        What is committed is made again.
    """
    done = {} if overwrite else manifest.committed(workspace, STAGE)
    lines, total = [], 0
    for survey, change in changes.items():
        rows = [row for row in change.plan.to_pylist() if row["verdict"] == plan.ACCEPTED]
        left = [row for row in rows if str(key_of(f"{survey}/{row['image_id']}")) not in done]
        pixels = sum(row["nx"] * row["ny"] for row in left)
        total += pixels
        what = f"{len(left)} images to ingest, {pixels / 1e6:.1f} Mpix"
        lines.append(f"{survey}: {what}; {len(rows) - len(left)} there already, {change.refused} rejected")
    minutes = total / 1e6 * (_SECONDS + settings.cosmic_rays * _RAYS_SECONDS) / workers / 60
    free = "" if workspace.free is None else f" of {workspace.free / 1e9:.1f} GB free"
    lines.append(f"writes about {total * _BYTES / 1e9:.2f} GB{free}; about {minutes:.1f} min")
    return "\n".join(lines)
