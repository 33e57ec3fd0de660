"""Settings that make no sense are refused in words."""

import pytest

from pipeline.errors import UsageError
from pipeline.settings import DifferenceSettings


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("tile = 1", "1 px is too small for a PSF and its surroundings; give 128 to 512, or 0"),
        ("tile = 127", "give 128 to 512, or 0"),
        ("tile = 513", "less than or equal to 512"),
        ("triplet = 62", "62 px have no middle pixel; give 61 or 63"),
    ],
)
def test_tiles_and_triplets_have_sizes_that_can_be_worked_with(tmp_path, line, words):
    (tmp_path / "settings.toml").write_text(f"[difference]\n{line}\n")
    with pytest.raises(UsageError) as caught:
        DifferenceSettings.load(tmp_path / "settings.toml", "difference")
    assert words in str(caught.value) and f"[difference] {line.split()[0]}: " in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("values", [{"tile": 0}, {"tile": 128}, {"tile": 512}, {"triplet": 15}, {"triplet": 255}])
def test_the_ends_are_allowed(values):
    assert DifferenceSettings(**values).model_dump() == DifferenceSettings().model_dump() | values
