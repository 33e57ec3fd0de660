import pytest

from pipeline.errors import UsageError
from pipeline.partition import CADENCES, Key, parse_sectors, where, where_cadence, where_sector


def test_key_prints_and_parses():
    key = Key("lightcurves", "s0001-ffi1800", 7)
    assert str(key) == "lightcurves/s0001-ffi1800/part-00007"
    assert Key.parse(str(key)) == key
    scores = Key("eclipsing_binary_scores", "model=calnet-0a1b2c3d/sector=0001", 12)
    assert Key.parse(str(scores)) == scores
    with pytest.raises(ValueError, match="part-00007"):
        Key.parse("lightcurves/s0001")


@pytest.mark.parametrize("cadence", CADENCES)
def test_where_names_sector_and_cadence(cadence):
    name = where(27, cadence)
    assert where_sector(name) == 27 and where_cadence(name) == cadence


def test_sectors():
    assert parse_sectors("1-3, 27,2") == [1, 2, 3, 27]
    for wrong in ("", "3-1", "a", "1-", "0", "1;2"):
        with pytest.raises(UsageError, match="--sectors"):
            parse_sectors(wrong)
