import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from catalogs.folder import Folder


@pytest.fixture(params=["local", "s3"])
def folder(request, tmp_path):
    if request.param == "local":
        return Folder(tmp_path)
    return request.getfixturevalue("s3_folder")


def test_read_write_list_remove(folder):
    folder.write("a/b.txt", b"hello")
    folder.write("a/b.txt", b"hello there")
    assert folder.read("a/b.txt") == b"hello there"
    assert folder.read("a/b.txt", 6, 5) == b"there" and folder.read("a/b.txt", 6, 500) == b"there"
    assert folder.read("a/b.txt", 100, 5) == b""
    assert folder.size("a/b.txt") == 11 and folder.exists("a/b.txt") and not folder.exists("a")
    folder.write("top.txt", b"")
    assert [(e.path, e.size) for e in folder.list()] == [("a/b.txt", 11), ("top.txt", 0)]
    assert [e.path for e in folder.list("a", ".txt")] == ["a/b.txt"] and folder.list("none") == []
    assert folder.folders() == ["a"] and [e.path for e in folder.files()] == ["top.txt"]
    folder.remove("a/b.txt")
    folder.remove("a/b.txt")
    with pytest.raises(FileNotFoundError):
        folder.read("a/b.txt")


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
