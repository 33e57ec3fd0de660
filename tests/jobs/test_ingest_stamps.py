"""The job that ingests stamps: what it says, what it refuses, and the same bytes with two workers."""

import pytest
from click.testing import CliRunner

from catalogs.folder import Folder
from jobs import explain, ingest_stamps, status
from tests.pipeline.stamps.files import stamp


def run(*options, main=ingest_stamps.main):
    return CliRunner().invoke(main, [str(option) for option in options])


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    for source in ("a", "b"):
        for k, name in enumerate("gr"):
            stamp(folder, source, "SDSS", name, seed=k)
    stamp(folder, "a", "JWST", "F200W", size=128)
    (folder / "c_SDSS_r.fits").write_bytes(b"junk")
    return folder


def test_stamps_are_ingested_and_their_state_is_shown(archive, tmp_path):
    space = ("--workspace", tmp_path / "ws")
    dry = run("--archive", archive, *space, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "sdss: stamps to ingest: 4, sources: 2, partitions: 1; 0 there already, 1 rejected" in dry.output
    assert not (tmp_path / "ws").exists()
    done = run("--archive", archive, *space)
    assert done.exit_code == 0, done.output
    assert "stack_stamps jwst" in done.output
    assert "ingest_stamps sdss: 1 partitions, 5 inputs: 4 done, 0 nothing, 1 rejected" in done.output
    shown = run(*space, main=status.main)
    assert shown.exit_code == 0 and "stack_stamps" in shown.output and "jwst" in shown.output
    listed = run(*space, "--outcomes", "ingest_stamps", main=status.main)
    assert "c_SDSS_r.fits" in listed.output and "not_fits" in listed.output
    again = run("--archive", archive, *space, "--dry-run")
    assert "sdss: nothing new; 4 there already, 1 rejected" in again.output
    anew = run("--archive", archive, *space, "--dry-run", "--overwrite")
    assert "sdss: stamps to ingest: 4, sources: 2, partitions: 1, 1 of which are replaced; 0 there" in anew.output


def test_stamps_that_are_not_scored_are_told_from_what_nobody_knows(tmp_path):
    for source in ("22466", "m31"):
        stamp(tmp_path / "archive", source, "SDSS", "r")
    space = ("--workspace", tmp_path / "ws")
    assert run("--archive", tmp_path / "archive", *space).exit_code == 0
    for name, words in (
        ("22466", "22466 has stamps of sdss, but is in no catalogue yet"),  # a number, which might be a star's
        ("m31", "m31 has stamps of sdss"),
        ("TIC 22467", "TIC 22467 is in no plan"),
        ("m32", "no source of stamps m32, and no candidate m32"),
    ):
        result = run(*space, name, main=explain.main)
        assert result.exit_code == 3 and words in result.output, result.output


def test_two_workers_make_the_same_bytes(archive, tmp_path):
    one, two = Folder(tmp_path / "one"), Folder(tmp_path / "two")
    assert run("--archive", archive, "--workspace", one.root).exit_code == 0
    done = run("--archive", archive, "--workspace", two.root, "--workers", 2)
    assert done.exit_code == 0, done.output
    for product in ("stamps", "stacks", "outcomes"):
        files = sorted(entry.path for entry in one.list(product))
        assert files and files == sorted(entry.path for entry in two.list(product))
        assert all(one.read(path) == two.read(path) for path in files)


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        (["--archive", "{}/nothing"], 2, "no such folder"),
        (["--archive", "{}/archive/a_SDSS_g.fits"], 2, "a file"),
        (["--archive", "{}/archive", "--pattern", "<star>"], 2, "--pattern <star>"),
        (["--archive", "{}/archive", "--surveys", "{}/none.toml"], 2, "none.toml"),
        (["--archive", "{}/empty"], 3, "no FITS file"),
    ],
)
def test_what_makes_no_sense_is_said_with_a_cure(archive, tmp_path, options, status, text):
    (tmp_path / "empty").mkdir()
    said = run(*(option.format(tmp_path) for option in options), "--workspace", tmp_path / "ws")
    assert said.exit_code == status and text in said.output, said.output


def test_help_teaches_names_and_what_comes_next():
    text = run("--help").output
    for word in ("SOURCE_SURVEY_FILTER.fits", "--pattern", "HSCLA", "status --outcomes ingest_stamps", "score_stamps"):
        assert word in " ".join(text.split())
