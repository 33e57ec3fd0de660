"""Types of variables: eclipsing, not, or in doubt, and the class where it is told."""

import pytest

from catalogs.variability import parse


@pytest.mark.parametrize(
    ("text", "klass"),
    [
        *((name, "EA") for name in ("EA", "EA/SD", "EA/RS", "eb:ea", "EA+DSCT+EA", "DSCT+EA", "EA/HW+V361HYA")),
        *((name, "EW") for name in ("EW/KW", "EB:EW", " ew ")),
        *((name, "EB") for name in ("EB", "EB:EB", "EB/KE+ELL")),
        *((name, "E") for name in ("E", "EC", "ECL", "EA|EB", "EA+EW", "EB:KEBC", "EB:ELL", "AM+E", "1", "True")),
    ],
)
def test_eclipsing_binaries_and_their_class(text, klass):
    found = parse(text)
    assert (found.eclipses, found.may_eclipse, found.klass) == (True, True, klass)


@pytest.mark.parametrize(
    "text",
    [
        *("NONVAR", "GDOR", "DSCT", "RRL_or_DSCT_unspecified", "RRC/BL", "RR(B)", "DSCT+GDOR+roAp", "ROTM", "EP", "HB"),
        *("ACV|BY", "UV+BY", "0", "false", "no", "not EB", "negative", "unlisted"),
    ],
)
def test_what_does_not_eclipse(text):
    found = parse(text)
    assert (found.eclipses, found.may_eclipse, found.klass) == (False, False, "other")


@pytest.mark.parametrize(
    ("text", "eclipses", "may_eclipse", "klass"),
    [
        ("ELL", False, False, "ELL"),
        ("ELL+DSCT", False, False, "ELL"),
        ("ELL|ROTM", False, False, ""),  # of what class is open
        ("ELL|EW", None, True, ""),
        ("EW|PULS", None, True, ""),
        ("EA?", None, True, ""),
        ("EA:", None, True, ""),
        ("RS/EA", None, True, ""),
        ("NONVAR?", None, False, ""),
        ("ELL:", None, False, ""),
        ("VAR", None, False, ""),
        ("DSCT+VAR", None, False, ""),
        ("", None, False, ""),
    ],
)
def test_what_is_open_or_not_known(text, eclipses, may_eclipse, klass):
    found = parse(text)
    assert (found.eclipses, found.may_eclipse, found.klass) == (eclipses, may_eclipse, klass)
