"""Whatever a file's bytes and name are: a light curve or a reason, in under 2 s and 512 MB."""

import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from catalogs.folder import Folder
from pipeline.errors import Reason, Rejected
from pipeline.fits import printable, unprintable
from pipeline.lightcurves import tess
from tests.properties import mutate

NUMBER, SECONDS, EXTRA_BYTES = 600, 2.0, 512 << 20

#: Kinds of mutation that have one right answer ("" is a light curve).
EXPECTED = {
    "cut 0": "empty",
    "zeros": "not_fits",
    "text": "not_fits",
    "zip": "not_fits",
    "junk behind": "",
    "padding behind": "",
    "no TICID": "",  # OBJECT says it too
    "no SECTOR": "bad_header",
    "no TELESCOP": "wrong_product",
    "no TTYPE1": "missing_column",
    "scale TSCAL8": "missing_column",
    "endless header": "absurd_size",
    "huge header": "absurd_size",
    "all NaN": "all_nan",
    "cadences shuffled": "bad_cadences",
    "cadences repeat": "bad_cadences",
    "cadences jump": "bad_cadences",
    "cadences negative": "bad_cadences",
    "gzip": "",
    "gzip of two members": "",
    "gzip and zeros": "",
    "gzip and junk": "bad_compression",
    "gzip bad sum": "bad_compression",
    "gzip cut": "bad_compression",
    "gzip in gzip": "not_fits",
    "gzip, members without end": "decompression_bomb",
    "bomb": "decompression_bomb",
    "name": "",
    "link out": "escapes_archive",
    "link dangling": "unreadable",
    "link loop": "unreadable",
    "pipe": "unreadable",
    "sparse": "not_fits",
    "gzip of nothing": "empty",
}


def test_every_mutated_file_is_read_or_rejected(tmp_path: Path) -> None:
    """At least 500 hostile files, read in a process that may not grow by more than 512 MB."""
    (tmp_path / "outside.fits").write_bytes(mutate.good())
    kinds = mutate.write(tmp_path / "archive", mutate.good(), NUMBER, np.random.default_rng(7))
    assert len(kinds) >= 500
    listed = {entry.path for entry in Folder(tmp_path / "archive").list()}
    assert listed == set(kinds)

    (tmp_path / "names.json").write_text(json.dumps(sorted(kinds)))
    root = Path(__file__).parents[2]
    child = subprocess.run(
        [sys.executable, __file__, str(tmp_path / "archive"), str(tmp_path / "names.json")],
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    results = json.loads(child.stdout)
    crashed = {printable(n): r["crash"] for n, r in results.items() if r.get("crash")}
    assert not crashed
    slow = {printable(n): r["seconds"] for n, r in results.items() if r["seconds"] > SECONDS}
    assert not slow
    wrong = {
        (kinds[name], printable(name)): result["reason"]
        for name, result in results.items()
        if EXPECTED.get(kinds[name]) not in (None, result["reason"])
    }
    assert not wrong
    # The mutations are worth something only if they reach every kind of check.
    seen = Counter(result["reason"] for result in results.values())
    unreached = {Reason.SECTOR, Reason.DUPLICATE, Reason.CHANGED, Reason.KILLED, Reason.CHECKSUM}
    # Of images and of their pairs; of stamps.
    unreached |= {
        Reason.WRONG_SHAPE,
        Reason.NO_WCS,
        Reason.CONSTANT,
        Reason.NOT_SCIENCE,
        Reason.OVERLAP,
        Reason.NO_STARS,
    }
    unreached |= {Reason.BAD_NAME, Reason.UNKNOWN_SURVEY, Reason.WRONG_SURVEY, Reason.OFF_CENTRE, Reason.LATE}
    assert set(seen) >= {str(reason) for reason in set(Reason) - unreached}, seen


def test_names_survive_print_and_return() -> None:
    """A printed name is one line of plain text, and leads back to the file."""
    for name in [*mutate.NAMES, "plain.fits", "\ud800", "a\\x41", "\x80"]:
        text = printable(name)
        assert text.isprintable() or "\u202e" in text
        text.encode()
        assert unprintable(text) == name


def _outcome(folder: Folder, name: str) -> dict[str, object]:
    # Time of this process, not of a machine that others use; what waits for ever runs into the child's limit.
    start = time.perf_counter()
    reason, crash = "", ""
    for look in (tess.inspect, tess.read):
        try:
            look(folder, name)
        except Rejected as error:
            reason = reason or str(error.reason)  # of the first look, as in a plan
            error.message.encode()
            crash = crash or ("" if len(error.message) < 400 else f"long message: {error.message}")
        except BaseException as error:  # noqa: BLE001 - the test is that there are none
            crash = f"{look.__name__}: {error!r}"
    return {"reason": reason, "crash": crash, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    archive, names = Folder(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    grown = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (grown + EXTRA_BYTES, grown + EXTRA_BYTES))
    print(json.dumps({name: _outcome(archive, name) for name in names}))
