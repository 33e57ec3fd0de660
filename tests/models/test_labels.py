"""Lists of labelled stars: what is read, and what is refused by name."""

from pathlib import Path

import pandas as pd
import pytest

from models.labels import draw_unlisted, file_digest, gather, merge, read_labels, read_negatives, unlisted
from pipeline.errors import UsageError


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_published_list(shared_data):
    labels = read_labels(shared_data / "catalogs" / "CALNet_training_samples.dat")
    assert len(labels) == labels["tic_id"].nunique() == 4225 and (labels["label"] == 1).all()
    assert labels["klass"].value_counts().to_dict() == {"EA": 2806, "EW": 787, "EB": 632}
    assert labels["sector"].isna().all() and labels["tic_id"].dtype == "int64" and labels["label"].dtype == "int8"
    by_sector = read_labels(shared_data / "catalogs" / "CALNet_newclass_samples.dat")
    assert by_sector["sector"].notna().all() and by_sector["tic_id"].duplicated().any()


def test_csv_and_parquet_say_the_same(tmp_path):
    text = "tic_id, label, sector\nTIC 55, EA/SD,\n9007199254740993, NONVAR, 7\n12, true, 3\n12, 1, 4\n13, 0,\n"
    labels = read_labels(write(tmp_path / "a.csv", text))
    assert list(labels["tic_id"]) == [12, 12, 13, 55, 9007199254740993]
    assert list(labels["label"]) == [1, 1, 0, 1, 0]
    assert labels["sector"].tolist() == [3, 4, pd.NA, pd.NA, 7]
    whole = pd.DataFrame({"TIC": [9007199254740993, 12], "class": ["DSCT", "EB:KEBC"], "sector": [7.0, None]})
    whole.astype({"sector": "Int64"}).to_parquet(tmp_path / "a.parquet")
    again = read_labels(tmp_path / "a.parquet")
    assert list(again["tic_id"]) == [12, 9007199254740993] and list(again["label"]) == [1, 0]
    assert again["sector"].tolist() == [pd.NA, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tic_id,period\n1,2\n", "no column label .*it has tic_id, period"),
        ("star,label\n1,2\n", "no column tic_id"),
        ("tic_id,TIC,label\n1,2,EB\n", "could both be tic_id"),
        ("tic_id,label\n1.5,EB\n", r"row 0: tic_id '1\.5'"),
        ("tic_id,label\n1,\n", "row 0: no label"),
        ("tic_id,label,sector\n1,EB,one\n", "row 0: sector 'one'"),
        ("tic_id,label\n1,EB\n7,EA\n7,no\n8,0\n8,1\n", "TIC 7, TIC 8; keep one"),
        ("", "not a readable list"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, text, message):
    path = write(tmp_path / "bad.csv", text)
    with pytest.raises(UsageError, match=rf"(?s)bad\.csv: .*{message}"):
        read_labels(path)


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no such list"):
        read_labels(tmp_path / "absent.csv")
    for name in ("noise.parquet", "noise.dat"):
        with pytest.raises(UsageError, match=f"{name}: not a readable list"):
            read_labels(write(tmp_path / name, "no table\nat all"))


def test_a_label_in_doubt_is_neither_positive_nor_negative(tmp_path):
    text = "tic_id,label\n1,ELL|EW\n2,EA?\n3,mystery\n4,eb:ea\n5,DSCT+EA\n6,ELL\n7,no\n8,NONVAR?\n"
    path = write(tmp_path / "a.csv", text)
    assert read_labels(path).set_index("tic_id")["label"].to_dict() == {4: 1, 5: 1, 6: 0, 7: 0}
    found, sources = gather(path, None, range(1, 12), 3, seed=0)
    assert sources["labels_in_doubt"] == 4 and set(found["tic_id"]) == {4, 5, 6, 7, 9, 10, 11}


def test_negatives_from_a_list_may_not_be_positive_elsewhere(tmp_path):
    stars = read_labels(write(tmp_path / "a.csv", "tic_id,label\n1,EB\n2,EA\n"))
    more = read_negatives(write(tmp_path / "n.txt", "# quiet\n5\nTIC 4\n\n5  # twice\n"))
    assert list(more["tic_id"]) == [4, 5] and not more["label"].any()
    assert list(merge(stars, more)["tic_id"]) == [1, 2, 4, 5]
    assert list(read_negatives(write(tmp_path / "n.csv", "tic_id,label\n6,EB\n"))["tic_id"]) == [6]
    with pytest.raises(UsageError, match="TIC 2"):
        merge(stars, unlisted([2, 3]))


def test_drawn_negatives_follow_from_seed_and_lists():
    first = draw_unlisted([5, 3, 3, 9, 1, 7], [1], 3, seed=0)
    assert first == draw_unlisted([9, 7, 5, 3, 1], [1, 2], 3, seed=0) == sorted(first)
    assert 1 not in first and len(set(first)) == 3
    assert len({tuple(draw_unlisted(range(100), [], 5, seed)) for seed in range(5)}) == 5
    with pytest.raises(UsageError, match="only 4"):
        draw_unlisted([1, 2, 3, 4, 5], [5], 5, seed=0)


def test_a_list_is_known_by_name_and_checksum(tmp_path):
    path = write(tmp_path / "a.csv", "x")
    assert file_digest(path) == {
        "file": "a.csv",
        "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
    }
