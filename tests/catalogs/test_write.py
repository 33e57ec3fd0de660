import hashlib
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalogs.folder import Folder
from catalogs.schema import SCORES, STARS, SchemaError
from catalogs.write import read, to_bytes, write


def test_same_rows_same_bytes_in_any_order_chunks_and_types(stars):
    data = to_bytes(stars, STARS)
    shuffled = stars.take(np.random.default_rng(1).permutation(len(stars)))
    pieces = pa.concat_tables([shuffled.slice(0, 70), shuffled.slice(70)])
    frame = shuffled.to_pandas(integer_object_nulls=True)
    assert frame["ra"].isna().any()  # NaN in pandas is null here
    assert to_bytes(pieces, STARS) == data
    assert to_bytes(pa.Table.from_pandas(frame[list(reversed(frame.columns))]), STARS) == data


def test_what_is_written_is_read_back(tmp_path, stars):
    folder = Folder(tmp_path)
    done = write(folder, "catalogs/a.parquet", stars, STARS)
    data = (tmp_path / "catalogs/a.parquet").read_bytes()
    assert done == ("catalogs/a.parquet", len(data), hashlib.sha256(data).hexdigest())
    back = read(folder, "catalogs/a.parquet", STARS)
    assert back.equals(stars) and back.schema.field("ra").metadata[b"unit"] == b"deg"
    frame = pd.read_parquet(tmp_path / "catalogs/a.parquet")  # one line, as promised
    assert frame["tic_id"].dtype == np.int64 and len(frame) == 200 and frame["model_id"].dtype == "str"
    assert [path.name for path in tmp_path.rglob("*.parquet*")] == ["a.parquet"]


def test_a_bad_table_leaves_no_file_and_the_old_one_stands(tmp_path, stars):
    folder = Folder(tmp_path)
    write(folder, "a.parquet", stars, STARS)
    before = folder.read("a.parquet")
    with pytest.raises(SchemaError, match="twice"):
        write(folder, "a.parquet", pa.concat_tables([stars, stars]), STARS)
    assert folder.read("a.parquet") == before
    with pytest.raises(SchemaError, match="missing"):
        write(folder, "b.parquet", stars, SCORES)
    assert not folder.exists("b.parquet")


def test_a_disk_that_lies_is_noticed(tmp_path, stars):
    class Lying(Folder):
        def read(self, path, *args):
            return super().read(path, *args)[:-9]

    with pytest.raises(OSError, match="other bytes than were written"):
        write(Lying(tmp_path), "a.parquet", stars, STARS)


@pytest.mark.parametrize("padding", range(3))  # base64 shifts what is looked for
def test_extension_types_are_refused_before_anything_revives_them(tmp_path, padding):
    class Trap(pa.ExtensionType):
        def __init__(self):
            super().__init__(pa.int64(), "skysift.trap")

        def __arrow_ext_serialize__(self):
            return b""

        @classmethod
        def __arrow_ext_deserialize__(cls, storage, serialized):
            sprung.append(1)
            return cls()

    sprung = []
    pa.register_extension_type(Trap())
    try:
        column = pa.ExtensionArray.from_storage(Trap(), pa.array([1]))
        sink = io.BytesIO()
        pq.write_table(pa.table({"x": column}).replace_schema_metadata({"p": "p" * padding}), sink)
        sprung.clear()
        (tmp_path / "a.parquet").write_bytes(sink.getvalue())
        with pytest.raises(SchemaError, match=r"a\.parquet: holds an Arrow extension type"):
            read(Folder(tmp_path), "a.parquet")
        assert not sprung
    finally:
        pa.unregister_extension_type("skysift.trap")


def test_other_files_are_refused_by_name(tmp_path, stars):
    folder = Folder(tmp_path)
    write(folder, "a.parquet", stars, STARS)
    data = folder.read("a.parquet")
    with pytest.raises(SchemaError, match=r"a\.parquet: is no eclipsing_binary_scores table .*score_sectors"):
        read(folder, "a.parquet", SCORES)
    for name, content in {"cut": data[:500], "none": b"", "text": b"tic_id\n1\n"}.items():
        folder.write(name, content)
        with pytest.raises(SchemaError, match=f"{name}: is not a readable Parquet file"):
            read(folder, name, STARS)
    with pytest.raises(FileNotFoundError):
        read(folder, "absent", STARS)


def test_flipped_bytes_never_change_a_row_silently(tmp_path, stars):
    folder = Folder(tmp_path)
    data = to_bytes(stars, STARS)
    refused = 0
    for place in range(0, len(data), 37):
        (tmp_path / "a.parquet").write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            assert read(folder, "a.parquet", STARS).equals(stars), place
        except SchemaError:
            refused += 1
    assert refused > len(data) / 37 / 2
