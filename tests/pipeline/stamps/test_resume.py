"""Ingested and measured again: nothing new, nothing done; what has changed makes anew what depends on it alone."""

import random
import shutil
from pathlib import Path

import pytest

from catalogs.folder import Folder
from pipeline import manifest, stores
from pipeline.errors import Refused, Stale
from pipeline.settings import MeasureSettings, StampSettings
from pipeline.stamps import measures, plan, recipe, status
from tests.chaos.killing import content
from tests.pipeline.stamps import toy_archive
from tests.pipeline.stamps.files import RA, stamp, stars, wcs, write


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an archive, and the workspace it was ingested and measured into."""
    top = tmp_path_factory.mktemp("made")
    toy_archive.fill(Folder(top / "workspace"), toy_archive.write(top / "archive", range(5)))
    return top


@pytest.fixture
def top(made: Path, tmp_path: Path) -> Path:
    """Return the same of one's own."""
    return Path(shutil.copytree(made, tmp_path / "top"))


def states(workspace: Folder) -> dict[str, tuple[int, bytes]]:
    """Return when each file was written, and what it holds."""
    entries = workspace.list()
    return {one.path: (workspace.local(one.path).stat().st_mtime_ns, workspace.read(one.path)) for one in entries}


def afresh(top: Path) -> dict[str, bytes]:
    """Return what a new workspace holds that the archive is ingested and measured into."""
    toy_archive.fill(Folder(top / "afresh"), top / "archive")
    return content(Folder(top / "afresh"))


def measured(workspace: Folder) -> dict[str, bytes]:
    """Return the manifests of what is measured, times and all."""
    return {path: workspace.read(path) for path in manifest.committed(workspace, measures.STAGE).values()}


def products(found: dict[str, bytes]) -> dict[str, bytes]:
    """Return all but the plans: they tell when files were changed last."""
    return {path: data for path, data in found.items() if not path.endswith(".plan.parquet")}


def stale(workspace: Folder) -> int:
    return int(status.status(workspace).set_index("stage").loc[measures.STAGE, "stale"])


def test_a_second_run_touches_no_file(top: Path) -> None:
    workspace = Folder(top / "workspace")
    before = states(workspace)
    reports = toy_archive.ingest(workspace, top / "archive") + toy_archive.measure(workspace)
    assert all(report.skipped == report.partitions for report in reports)
    assert sum(report.skipped for report in reports) == 4 + 4 + 4
    assert states(workspace) == before


def test_of_a_changed_file_only_what_depends_on_it_is_measured_again(top: Path) -> None:
    archive, workspace = top / "archive", Folder(top / "workspace")
    (archive / "s002_SDSS_r.fits").unlink()
    stamp(archive, "s002", "SDSS", "r", size=72, seed=77, RA_OBJ=RA + 0.02, CRVAL1=RA + 0.02)
    before = states(workspace)
    with pytest.raises(Refused, match=r"s002_SDSS_r\.fits has changed since it was ingested; .*--overwrite"):
        toy_archive.ingest(workspace, archive)
    assert states(workspace) == before
    toy_archive.ingest(workspace, archive, overwrite=True)
    # The stamps of unWISE, and the source that is seen in them alone, are what they were.
    assert stale(workspace) == 3
    old, names = (
        measured(workspace),
        r"measures/hst.*likewise measures/pan-starrs/part-00000, measures/sdss/part-00000$",
    )
    with pytest.raises(Stale, match=names):
        toy_archive.measure(workspace)
    assert measured(workspace) == old
    (report,) = toy_archive.measure(workspace, overwrite=True)
    assert (report.partitions, report.skipped) == (4, 1) and stale(workspace) == 0
    assert [path for path, data in measured(workspace).items() if data == old[path]] == [
        "manifest/measure_stamps/measures/unwise/part-00000.json"
    ]
    assert content(workspace) == afresh(top)


def test_a_source_that_is_added_changes_nothing_that_is_there(top: Path) -> None:
    workspace = Folder(top / "workspace")
    before = states(workspace)
    toy_archive.write(top / "archive", [8], bad=False)
    toy_archive.ingest(workspace, top / "archive")
    (report,) = toy_archive.measure(workspace)
    assert (report.partitions, report.skipped) == (5, 4) and report.counts["done"] == 5
    after = states(workspace)
    # Plans and stores have grown; what they held is where it was.
    changed = {path for path in before if after[path] != before[path]}
    assert all(path.endswith((".plan.parquet", "zarr.json")) for path in changed), changed
    assert {key.rpartition("/")[2] for key in manifest.committed(workspace, plan.STAGE)} == {"part-00000", "part-00001"}


def test_a_survey_that_is_added_makes_stale_what_was_measured_without_it(made: Path, tmp_path: Path) -> None:
    """It is the first one that has its sources: they move to another partition, and none is measured twice."""
    archive, workspace = tmp_path / "archive", Folder(tmp_path / "workspace")
    toy_archive.fill(workspace, toy_archive.write(archive, range(5), surveys=list(toy_archive.SURVEYS)[1:]))
    for path in (made / "archive").glob("*_HST_*"):
        shutil.copy2(path, archive)
    toy_archive.ingest(workspace, archive)
    with pytest.raises(Stale, match="measures/pan-starrs/part-00000: stale, its input has changed since: sources"):
        toy_archive.measure(workspace)
    (report,) = toy_archive.measure(workspace, overwrite=True)
    assert (report.partitions, report.skipped) == (4, 2)
    assert products(content(workspace)) == products(content(Folder(made / "workspace")))


def test_a_source_that_is_gone_stays_until_all_is_made_anew(top: Path) -> None:
    archive, workspace = top / "archive", Folder(top / "workspace")
    for path in archive.glob("*_HST_*"):
        path.unlink()
    before = states(workspace)
    toy_archive.fill(workspace, archive)
    assert states(workspace) == before
    toy_archive.ingest(workspace, archive, overwrite=True)
    with pytest.raises(
        Stale, match=r"measures/hst/part-00000: stale, nothing belongs to it.*likewise measures/pan-starrs"
    ):
        toy_archive.measure(workspace)
    toy_archive.measure(workspace, overwrite=True)
    assert content(workspace) == afresh(top)


def test_measures_that_are_damaged_are_made_again(top: Path) -> None:
    workspace = Folder(top / "workspace")
    good, path = content(workspace), "measures/sdss.sources/part-00000.parquet"
    workspace.write(path, good[path][:-1])
    (report,) = toy_archive.measure(workspace, overwrite=True)
    assert (report.partitions, report.skipped) == (4, 3) and content(workspace) == good


def test_another_setting_makes_all_anew(top: Path) -> None:
    workspace, settings = Folder(top / "workspace"), MeasureSettings(most=3)
    (report,) = measures.measure_stamps(None, workspace, settings, overwrite=True)
    assert (report.partitions, report.skipped) == (4, 0)


def test_plans_do_not_depend_on_the_order_in_which_files_are_read(tmp_path: Path) -> None:
    """Nothing in the headers names the source: its place is the median of the middles of its stamps."""
    rng = random.Random(3)
    for number in range(12):
        for survey, scale in (("SDSS", 0.396), ("2MASS", 1.0)):
            place = {"ra": rng.uniform(0, 360), "dec": rng.uniform(-80, 80)}
            for name in "abc":
                image = stars((40, 40), [(19.5, 19.5, 5000.0)], 3, seed=number)
                own = wcs(image.shape, scale, place["ra"] + rng.uniform(0, 1e-4), place["dec"] + rng.uniform(0, 1e-4))
                write(tmp_path / f"archive/s{number}_{survey}_{name}.fits", image, own)
    archive, settings = Folder(tmp_path / "archive"), StampSettings()
    rows = plan.inspect(archive, settings, plan.find(archive))
    first = plan.changes(Folder(tmp_path / "ws"), [dict(row) for row in rows], settings)
    for _ in range(5):
        rng.shuffle(rows)
        again = plan.changes(Folder(tmp_path / "ws"), [dict(row) for row in rows], settings)
        assert again.keys() == first.keys()
        assert all(again[slug].plan.equals(first[slug].plan) for slug in first)


def test_what_names_no_survey_is_looked_at_again(
    tmp_path: Path, workspace: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--pattern and --surveys are the cures: with them it is ingested, and stands in one plan after a kill too."""
    archive = tmp_path / "archive"
    image = stars((80, 80), [(39.5, 39.5, 1e4)], 4.5)
    write(archive / "x_UKIDSS_K.fits", image, wcs(image.shape, 0.2))
    stamp(archive, "7", name="{survey}-{source}-{filter}.fits")
    toy_archive.ingest(workspace, archive)
    assert set(status.outcomes(workspace, plan.STAGE)["reason"]) == {"unknown_survey", "bad_name"}
    (tmp_path / "mine.toml").write_text(
        '[[survey]]\nname = "UKIDSS"\naperture_m = 3.8\npixscale = 0.2\nside = 64\nfilters = { K = [2.2, 0.9] }\n'
    )
    settings, saved = StampSettings(surveys=str(tmp_path / "mine.toml")), list[str]()

    def save_one(folder: Folder, slug: str, change: plan.Change) -> None:
        if saved:
            raise KeyboardInterrupt
        saved.append(slug)
        save(folder, slug, change)

    save = plan.save
    monkeypatch.setattr(plan, "save", save_one)
    with pytest.raises(KeyboardInterrupt):
        list(recipe.ingest_stamps(None, workspace, Folder(archive), settings))
    monkeypatch.setattr(plan, "save", save)
    list(recipe.ingest_stamps(None, workspace, Folder(archive), settings))
    settings = settings.model_copy(update={"pattern": "<survey>-<source>-<filter>"})
    list(recipe.ingest_stamps(None, workspace, Folder(archive), settings))
    table = status.outcomes(workspace, plan.STAGE)
    assert dict(zip(table["input"], table["state"], strict=True)) == {
        "SDSS-7-r.fits": "done", "x_UKIDSS_K.fits": "done"
    }  # fmt: skip


def test_the_same_on_s3_and_by_two_workers(made: Path, s3_folder: Folder, dask_client: object) -> None:
    local, remote = Folder(made / "workspace"), s3_folder.child("workspace")
    for path in (made / "archive").iterdir():
        s3_folder.write(f"archive/{path.name}", path.read_bytes())
    for _ in range(2):
        toy_archive.ingest(remote, s3_folder.child("archive"), client=dask_client)
        (report,) = toy_archive.measure(remote, client=dask_client)
    assert report.skipped == report.partitions == 4
    here, there = content(local), content(remote)
    assert here.keys() == there.keys()
    assert [path for path in products(here) if here[path] != there[path]] == []
    assert status.status(local).equals(status.status(remote))
    assert stores.open(remote, "stacks/sdss.zarr", "stack_stamps").sizes["row"] == 4
