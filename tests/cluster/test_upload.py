"""What `ray job submit --working-dir .` uploads, packed by Ray's own function."""

import shutil
import zipfile

from ray._private.runtime_env.packaging import create_package

HEAVY = (".venv", ".git", "workspace", "demo", "data", "dist", "build", "shared")
LIMIT = 50e6


def test_the_upload_is_code_only(tree, tmp_path):
    package = tmp_path / "tree.zip"
    create_package(str(tree), package, include_gitignore=True)
    assert package.stat().st_size < LIMIT
    names = zipfile.ZipFile(package).namelist()
    assert "cluster/local.py" in names and "requirements.lock" in names
    assert not [name for name in names if name.startswith(tuple(f"{folder}/" for folder in HEAVY))]


def test_the_ignore_file_alone_leaves_heavy_folders_out(tree, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(tree / ".rayignore", copy)
    for name in (
        *(f"{folder}/big.bin" for folder in HEAVY),
        "cluster/local.py",
        "models/data.py",
        "models/demo/x.py",
    ):
        (copy / name).parent.mkdir(exist_ok=True, parents=True)
        (copy / name).write_bytes(b"x")
    create_package(str(copy), tmp_path / "copy.zip", include_gitignore=False)
    names = {name for name in zipfile.ZipFile(tmp_path / "copy.zip").namelist() if not name.endswith("/")}
    assert names == {".rayignore", "cluster/local.py", "models/data.py", "models/demo/x.py"}
