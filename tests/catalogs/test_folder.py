import errno
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from werkzeug.serving import WSGIRequestHandler

from catalogs.folder import Folder


@pytest.fixture(params=["local", "s3"])
def folder(request, tmp_path):
    if request.param == "local":
        return Folder(tmp_path)
    return request.getfixturevalue("s3_folder")


@pytest.fixture
def s3_requests(s3_server, monkeypatch):
    """Return the list that the methods of all requests to S3 are added to."""
    methods = []
    monkeypatch.setattr(WSGIRequestHandler, "log_request", lambda self, *_: methods.append(self.command))
    return methods


def test_read_write_list_remove(folder):
    folder.write("a/b.txt", b"hello")
    folder.write("a/b.txt", b"hello there")
    assert folder.read("a/b.txt") == b"hello there"
    assert folder.read("a/b.txt", 6, 5) == b"there" and folder.read("a/b.txt", 6, 500) == b"there"
    assert folder.read("a/b.txt", 6) == b"there" and folder.read("a/b.txt", 3, 0) == b""
    assert folder.read("a/b.txt", 100, 5) == folder.read("a/b.txt", 11, 5) == folder.read("a/b.txt", 100) == b""
    assert folder.size("a/b.txt") == 11 and folder.exists("a/b.txt") and not folder.exists("a")
    folder.write("top.txt", b"")
    assert folder.read("top.txt") == folder.read("top.txt", 0, 5) == b""
    assert [(e.path, e.size) for e in folder.list()] == [("a/b.txt", 11), ("top.txt", 0)]
    assert [e.path for e in folder.list("a", ".txt")] == ["a/b.txt"] and folder.list("none") == []
    assert folder.folders() == ["a"] and [e.path for e in folder.files()] == ["top.txt"]
    folder.remove("a/b.txt")
    folder.remove("a/b.txt")
    for span in ((), (3, 5)):
        with pytest.raises(FileNotFoundError):
            folder.read("a/b.txt", *span)


def test_what_is_missing_or_empty_is_not_there(folder):
    assert not folder.child("none").is_there()
    folder.write("a/b.txt", b"")
    assert folder.is_there() and folder.child("a").is_there()
    folder.remove("a/b.txt")
    assert not folder.child("a").is_there() and not folder.child("a").list()


def test_a_large_object_is_one_put(s3_folder, s3_requests):
    s3_folder.write("a", bytes(12 << 20))
    assert s3_folder.create("b", bytes(12 << 20)) and s3_requests == ["PUT", "PUT"]
    assert s3_folder.size("a") == s3_folder.size("b") == 12 << 20


def test_a_range_is_one_get(s3_folder, s3_requests):
    s3_folder.write("a", bytes(1000))
    assert len(s3_folder.read("a", 10, 100)) == 100 and len(s3_folder.read("a", 990, 100)) == 10
    assert s3_requests == ["PUT", "GET", "GET"]


def test_more_than_a_thousand_objects_are_removed(s3_folder, s3_requests):
    for number in range(1001):
        s3_folder.write(f"tree/{number}", b"")
    s3_folder.write("other", b"")
    s3_folder.remove_tree("tree")
    assert [entry.path for entry in s3_folder.list()] == ["other"]
    assert s3_requests.count("POST") == 2


def _tree(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


def _paths(folder, top=""):
    return [entry.path for entry in folder.list(top)]


def test_linked_folders_are_listed_once(tmp_path):
    """Those outside under the link's name, those inside where they are."""
    root, far = tmp_path / "archive", tmp_path / "far"
    _tree(root, "data/deep/b.fits", "s001/a.fits")
    _tree(far, "c.fits", "deep/d.fits")
    (root / "s002").symlink_to(far)
    (root / "s003").symlink_to("data/deep")
    (root / "s001" / "more").symlink_to(far / "deep")
    (tmp_path / "linked").symlink_to(root)
    for folder in (Folder(root), Folder(tmp_path / "linked")):
        assert folder.folders() == ["data", "s001", "s002"] and folder.files() == []
        assert _paths(folder) == ["data/deep/b.fits", "s001/a.fits", "s001/more/d.fits", "s002/c.fits"]
        assert _paths(folder, "s002") == ["s002/c.fits", "s002/deep/d.fits"]
        assert _paths(folder, "s003") == ["s003/b.fits"]
        assert folder.child("s002").folders() == ["deep"]


def test_links_in_circles_end(tmp_path):
    root, far = tmp_path / "archive", tmp_path / "far"
    _tree(root, "s001/a.fits")
    _tree(far, "one/b.fits", "two/c.fits")
    for link, target in (("s001/self", root), ("s001/up", ".."), ("top", tmp_path), ("knot", "knot")):
        (root / link).symlink_to(target)
    (far / "one" / "on").symlink_to("../two")
    (far / "two" / "back").symlink_to("../one")
    (far / "home").symlink_to(root)
    folder = Folder(root)
    assert folder.folders() == ["s001", "top"]
    assert _paths(folder) == ["knot", "s001/a.fits", "top/far/one/b.fits", "top/far/two/c.fits"]


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(tmp_path, monkeypatch):
    _tree(tmp_path, "s001/a.fits")
    for number, left in ((errno.EACCES, []), (errno.ESTALE, None)):
        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", partial(_fail, number))
            assert not Folder(tmp_path).is_there()
            if left is None:
                with pytest.raises(OSError, match="Stale"):
                    Folder(tmp_path).list()
            else:
                assert Folder(tmp_path).list() == left


def _fail(number, path):
    raise OSError(number, os.strerror(number), path)


def test_one_creator_wins(folder):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: folder.create("m/key.json", str(n).encode()), range(16)))
    assert sum(made) == 1 and folder.read("m/key.json") == str(made.index(True)).encode()
    assert len(folder.list()) == 1


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "..", "a\0b"])
def test_no_path_leads_out(tmp_path, path):
    folder = Folder(tmp_path / "in")
    for verb in (folder.read, folder.exists, folder.remove, folder.remove_tree):
        with pytest.raises(ValueError, match="leads out"):
            verb(path)
    with pytest.raises(ValueError, match="leads out"):
        folder.write(path, b"")


def test_other_schemes_are_refused():
    with pytest.raises(ValueError, match="s3://"):
        Folder("gs://bucket/x")


def test_a_folder_travels_as_its_address(tmp_path):
    copy = pickle.loads(pickle.dumps(Folder(tmp_path)))  # noqa: S301 - as engines do
    copy.write("x", b"1")
    assert copy == Folder(tmp_path) and Folder(tmp_path).read("x") == b"1"


def test_sweep_removes_what_the_dead_left(tmp_path):
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from catalogs.folder import Folder\n"
        "os.replace = lambda *a: os._exit(9)\n"
        "Folder(sys.argv[2]).write('a/b.parquet', b'half')\n"
    )
    tree = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    subprocess.run([sys.executable, "-c", script, tree, str(tmp_path)], check=False)
    folder = Folder(tmp_path)
    mine = folder._temporary("a/live", b"")  # a writer that is still alive
    left = [name for name in os.listdir(tmp_path / "a") if name.endswith(".partial")]
    assert len(left) == 2 and folder.list() == []
    assert folder.sweep() == 1 and mine.exists()
