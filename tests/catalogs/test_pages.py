import base64
import hashlib
import re
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pandas as pd
import pytest

from catalogs.folder import Folder
from catalogs.pages import Card, Link, Page, Picture, Section, canvas, embed, index

VOID = {"meta", "img", "br", "link"}


class Reader(HTMLParser):
    """Collect tags and check that they nest."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def picture():
    figure, axes = canvas(1, 2, width=4, height=2)
    axes[0, 1].plot([0, 1], [0, 1])
    return embed(figure, "A line that <rises>", "Caption & more")


@pytest.fixture
def page(picture):
    table = pd.DataFrame(
        {"tic_id": [261136679, 1], "ra": [84.2912345678, np.nan], "name": ["<script>x</script>", None]}
    )
    table["sectors"], table["page"] = [[1, 27], []], [Link("open", "a.html"), ""]
    table.attrs["units"] = {"ra": "deg"}
    sections = [
        Section("What <came> out", "One.\n\nTwo & three.", table=table),
        Section("Figures", figures=[picture, picture]),
        Section("Raw", html="<em>as it is</em>"),
    ]
    links = [Link("back", "../x.html", "prev"), Link("on", "y.html", "next")]
    return Page("Sector <1>", sections, "Lead", {"light curves": 12345, "AUCPR": 0.98765}, links)


def test_everything_but_trusted_html_is_escaped(page):
    text = page.render()
    assert "<script>x" not in text and "&lt;script&gt;x" in text and "Sector &lt;1&gt;" in text
    assert "<em>as it is</em>" in text and "A line that &lt;rises&gt;" in text
    for part in (
        "12,345",
        "0.9877",
        "84.2912",
        "<small>deg</small>",
        "1, 27",
        "–",
        "<p>Two &amp; three.</p>",
    ):
        assert part in text
    assert ">261136679</td>" in text  # identifiers are not parted


def test_a_page_nests_stands_alone_and_can_be_read_aloud(page):
    text = page.render()
    reader = Reader(text)
    assert text.startswith("<!doctype html>") and reader.all("html") == [{"lang": "en"}]
    assert all(img["alt"] and img["src"].startswith("data:image/png;base64,") for img in reader.all("img"))
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:|//)""", text) and not reader.all("link")
    policy = next(m["content"] for m in reader.all("meta") if m.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:;") and "'sha256-" in policy
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(set(ids)) == len(ids) and {"main", "figures", "what-came-out"} <= set(ids)
    targets = [a["href"][1:] for a in reader.all("a") if a["href"].startswith("#")]
    assert set(targets) <= set(ids) and len(reader.all("h1")) == 1
    assert all(th.get("scope") == "col" for th in reader.all("th"))
    assert any(m.get("name") == "viewport" for m in reader.all("meta"))


def test_a_table_that_can_be_sorted_has_the_one_script_that_the_policy_allows():
    table = pd.DataFrame({"name": ["a", "b"], "value": [1.0, None]})
    text = Page("A", [Section("S", table=table, sortable=True)]).render()
    script = text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert 'class="sortable"' in text and "localeCompare" in script and f"'sha256-{digest}'" in text
    both = Page("A", [Section("S", table=table, sortable=True)], links=[Link("b", "b.html", "next")]).render()
    assert both.count("<script>") == 1 and "ArrowRight" in both and "sortable" in both
    assert "sortable" not in Page("A", [Section("S", table=table)]).render().partition("<body>")[2]


def test_without_neighbours_there_is_no_script():
    assert "script-src 'none'" in Page("A").render() and "<script" not in Page("A").render()


def test_the_same_page_gives_the_same_file(tmp_path, page):
    folder = Folder(tmp_path)
    assert page.write(folder, "reports/a.html") == folder.url("reports/a.html")
    assert (tmp_path / "reports/a.html").read_text("utf-8") == page.render()


def test_long_tables_say_how_much_they_show():
    text = Page("A", [Section("Rows", table=pd.DataFrame({"x": range(1500)}), rows=20)]).render()
    assert "20 of 1,500 rows" in text and text.count("<tr>") == 21
    assert "<table>" in Page("A", [Section("None", table=pd.DataFrame({"x": []}))]).render()


def test_figures_share_no_state_and_repeat_to_the_byte(picture):
    before = dict(matplotlib.rcParams)
    figure, axes = canvas(2, 1, sharex=True)
    assert axes.shape == (2, 1)
    axes[0, 0].plot([1, 2, 3])
    assert embed(figure, "x").png == embed(figure, "x").png
    assert dict(matplotlib.rcParams) == before and picture.size == (576, 288)


def test_index_leads_to_pages(picture):
    page = index("Candidates", [Card(Link(f"TIC {i}", f"{i}.html"), "score 0.9", picture) for i in range(3)])
    reader = Reader(page.render())
    assert [a["href"] for a in reader.all("a")][1:] == ["0.html", "1.html", "2.html"]
    assert "3 pages" in page.render() and "0 pages" in index("None", []).render()


def test_what_cannot_be_shown_is_refused(picture):
    with pytest.raises(ValueError, match="neither a relative path nor a web address"):
        Link("x", "javascript:alert(1)")
    with pytest.raises(ValueError, match="a text that says what it shows"):
        Picture(picture.png, " ")
    with pytest.raises(ValueError, match="PNG bytes"):
        Picture(b"GIF89a", "x")
    with pytest.raises(ValueError, match="two sections have the same heading"):
        Page("A", [Section("B"), Section("b!")])
