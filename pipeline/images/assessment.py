"""What is known of a pair once all its bands are subtracted: the self-test as a whole, and what it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from catalogs.candidates import FrameFlag
from catalogs.folder import Folder
from pipeline import manifest
from pipeline.images.difference import DIFFERENCE
from pipeline.images.selftest import BEYOND, SelfTest, Zero
from pipeline.manifest import Record
from pipeline.partition import Key

__all__ = ["Assessment", "assess"]


@dataclass(frozen=True, eq=False)
class Assessment:
    """The self-test of a pair.

    Parameters
    ----------
    selftest : SelfTest
        Of all bands.
    noise : tuple of float
        By how much the noise of each band is larger than its variance planes say: what resampling has correlated.
    records : tuple of Record
        Manifests of the bands.
    zeros : tuple of Zero
        What was made right of each band.
    """

    selftest: SelfTest
    noise: tuple[float, ...]
    records: tuple[Record, ...]
    zeros: tuple[Zero, ...]

    @property
    def flags(self) -> FrameFlag:
        """What the self-test has against the pair."""
        failed = self.selftest.fails or any(zero.fails for zero in self.zeros)
        found = FrameFlag.SELF_TEST if failed else FrameFlag(0)
        return found | FrameFlag.EXCESS if self.selftest.excess > BEYOND else found

    @property
    def verdict(self) -> str:
        """The same in words."""
        against = "; ".join(flag.text for flag in FrameFlag if flag in self.flags)
        return f"failed: {against}" if against else "passed"

    def __str__(self) -> str:
        test = self.selftest
        below, above = test.blank.beyond
        cores = f"{test.sources.std:.3f} on bright stars" if test.sources.size else "no bright star in both images"
        error = max(zero.psf_error for zero in self.zeros)
        cores += f", {100 * error:.1f}% of whose light counts as noise" if error else ""
        return (
            f"std of S_corr {test.blank.std:.3f} on blank sky, {cores}; {above} pixels of blank sky over 5 sigma, "
            f"{below} under -5, of {test.blank.size / 1e6:.2f} Mpix: {self.verdict}"
        )


def assess(workspace: Folder, keys: Sequence[Key]) -> Assessment | None:
    """Return the self-test of a pair, or None if not all of its bands are done.

    Parameters
    ----------
    workspace : Folder
        Holds the manifests.
    keys : sequence of Key
        Its bands.
    """
    records = [manifest.read(workspace, DIFFERENCE, key) for key in keys]
    found = [record for record in records if record is not None and "selftest" in record.details]
    if len(found) < len(keys) or not found:
        return None
    tests = [SelfTest.from_dict(record.details["selftest"]) for record in found]
    names = ("noise_scale", "sky_offset", "psf_error")
    zeros = tuple(Zero(*(float(record.details[name]) for name in names)) for record in found)
    return Assessment(reduce(add, tests), tuple(zero.noise for zero in zeros), tuple(found), zeros)
