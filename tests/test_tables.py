import asyncio
import math
import os
import random
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema
from arro3.io import write_parquet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashgaze.errors import DashgazeError, InputError
from dashgaze.tables import (
    Column,
    Status,
    acceptor,
    encode,
    null_mask,
    read_table,
    write_atomically,
    write_table,
)

COLUMNS = (
    Column("t_s", "float", "s", False, "time"),
    Column("share_frac", "float", "", True, "share", 0, 1),
    Column("free", "float", "", True, "any number"),
    Column("frame", "int", "", False, "frame", 0),
    Column("stamp_ns", "int", "ns", True, "stamp"),
    Column("closed", "bool", "", True, "closed"),
    Column("seen", "bool", "", False, "seen"),
    Column("status", "string", "", False, "status", values=tuple(Status)),
    Column("note", "string", "", True, "note"),
)
GOOD = {
    "t_s": [0.0, 0.5, 0.5],
    "share_frac": [0.0, None, 1.0],
    "free": [None, -1e300, 2.0],
    "frame": [0, 1, 2],
    "stamp_ns": [None, -(2**63), 2**63 - 1],
    "closed": [True, None, False],
    "seen": [True, True, False],
    "status": [Status.OK, "no_face", "unknown"],
    "note": [None, "", "größer 🙂"],
}

_int64 = st.integers(-(2**63), 2**63 - 1)
_finite = st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "t_s": _finite,
            "share_frac": st.none() | st.floats(0, 1),
            "free": st.none() | _finite,
            "frame": st.integers(0, 2**63 - 1),
            "stamp_ns": st.none() | _int64,
            "closed": st.none() | st.booleans(),
            "seen": st.booleans(),
            "status": st.sampled_from(list(Status)),
            "note": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
        }
    ),
    max_size=40,
)


def as_rows(table):
    """The table as Python values, None where null."""
    columns = {}
    for name, values in table.items():
        cells = np.ma.getdata(values).tolist()
        columns[name] = [None if null else cell for cell, null in zip(cells, null_mask(values), strict=True)]
    return columns


@contextmanager
def largest_file(size: int):
    """A disk that takes no file larger than this, by the kernel's own limit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_what_was_written_is_what_is_read(tmp_path, rows) -> None:
    rows.sort(key=lambda row: row["t_s"])
    data = {column.name: [row[column.name] for row in rows] for column in COLUMNS}
    write_table(tmp_path / "t.parquet", COLUMNS, data)
    table = read_table(tmp_path / "t.parquet", COLUMNS)
    assert as_rows(table) == data
    assert list(table) == [column.name for column in COLUMNS]
    write_table(tmp_path / "again.parquet", COLUMNS, table)
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "t.parquet").read_bytes()


def test_arrays_in_memory_have_the_types_that_are_promised(tmp_path) -> None:
    write_table(tmp_path / "t.parquet", COLUMNS, GOOD)
    table = read_table(tmp_path / "t.parquet", COLUMNS)
    kinds = {name: (values.dtype.kind, np.ma.isMaskedArray(values)) for name, values in table.items()}
    assert kinds == {
        "t_s": ("f", False),
        "share_frac": ("f", False),
        "free": ("f", False),
        "frame": ("i", False),
        "stamp_ns": ("i", True),
        "closed": ("b", True),
        "seen": ("b", False),
        "status": ("O", False),
        "note": ("O", False),
    }
    assert math.isnan(table["share_frac"][1])
    assert (table["status"] == Status.NO_FACE).tolist() == [False, True, False]


def test_nan_and_masked_and_absent_columns_become_null(tmp_path) -> None:
    data = {name: GOOD[name] for name in ("frame", "seen", "status")} | {
        "t_s": np.array([0, 1, 2], np.float32),
        "share_frac": np.array([0.5, np.nan, 1]),
        "free": [math.nan, np.float32(0.5), 3],
        "stamp_ns": np.ma.masked_array([1, 2, 3], mask=[0, 1, 0]),
    }
    write_table(tmp_path / "t.parquet", COLUMNS, data)
    rows = as_rows(read_table(tmp_path / "t.parquet", COLUMNS))
    assert rows["t_s"] == [0.0, 1.0, 2.0]
    assert rows["share_frac"] == [0.5, None, 1.0]
    assert rows["free"] == [None, 0.5, 3.0]
    assert rows["stamp_ns"] == [1, None, 3]
    assert rows["note"] == rows["closed"] == [None, None, None]


def test_a_table_can_have_no_rows(tmp_path) -> None:
    write_table(tmp_path / "t.parquet", COLUMNS, {})
    assert all(len(values) == 0 for values in read_table(tmp_path / "t.parquet", COLUMNS).values())


WRONG = [
    ("t_s", None, "is null"),
    ("t_s", math.nan, "is null"),
    ("t_s", math.inf, "must be finite"),
    ("share_frac", 1.5, "<= 1"),
    ("share_frac", -0.1, ">= 0"),
    ("share_frac", "0.5", "not a number"),
    ("share_frac", True, "not a number"),
    ("free", -math.inf, "must be finite"),
    ("free", 10**400, "too large"),
    ("frame", -1, ">= 0"),
    ("frame", 1.0, "not an int"),
    ("frame", True, "not an int"),
    ("frame", None, "is null"),
    ("stamp_ns", 2**63, "out of range"),
    ("closed", 1, "not a bool"),
    ("seen", None, "is null"),
    ("status", "Ok", "none of ok, propagated"),
    ("status", None, "is null"),
    ("note", 5, "not a string"),
    ("note", "\ud800", "UTF-8"),
]


@pytest.mark.parametrize(("name", "value", "problem"), WRONG)
def test_a_wrong_value_is_refused_by_column_and_row(tmp_path, name, value, problem) -> None:
    data = GOOD | {name: [*GOOD[name][:1], value, *GOOD[name][2:]]}
    with pytest.raises(InputError, match=f"t.parquet, column {name}, row 1: .*{problem}"):
        write_table(tmp_path / "t.parquet", COLUMNS, data)
    assert not any(tmp_path.iterdir())


@given(value=st.floats() | st.sampled_from([-1e-7, 1 + 1e-7, 1 + 2e-6]))
def test_single_values_and_arrays_are_judged_alike(value) -> None:
    column = COLUMNS[1]
    try:
        single = acceptor(column)(value)
    except ValueError:
        with pytest.raises(InputError):
            encode("t", [column], {column.name: np.array([value])})
    else:
        assert encode("t", [column], {column.name: np.array([value])})[0].to_pylist() == [single]


def test_time_must_not_go_backward(tmp_path) -> None:
    with pytest.raises(InputError, match=r"column t_s, row 2: goes backward, from 0.5 to 0.25"):
        write_table(tmp_path / "t.parquet", COLUMNS, GOOD | {"t_s": [0.0, 0.5, 0.25]})


def test_columns_must_be_known_and_equally_long(tmp_path) -> None:
    with pytest.raises(InputError, match="column tme_s: is not a column"):
        write_table(tmp_path / "t.parquet", COLUMNS, GOOD | {"tme_s": [0.0, 1.0, 2.0]})
    with pytest.raises(InputError, match="column note: has 2 rows, another column has 3"):
        write_table(tmp_path / "t.parquet", COLUMNS, GOOD | {"note": ["a", "b"]})


def foreign(path: Path, **columns: Array) -> Path:
    """A Parquet file by another writer."""
    schema = Schema([Field(name, array.type) for name, array in columns.items()])
    batch = RecordBatch.from_arrays(list(columns.values()), schema=schema)
    write_parquet(RecordBatchReader.from_batches(schema, [batch]), path)
    return path


FREE = (Column("x", "float", "", True, "x", 0, 10),)
INT = (Column("x", "int", "", True, "x"),)
TEXT = (Column("x", "string", "", True, "x", values=("a", "b")),)


@pytest.mark.parametrize(
    ("columns", "values", "kind", "read"),
    [
        (FREE, [1.5, None], DataType.float32(), [1.5, None]),
        (INT, [1, None], DataType.int16(), [1, None]),
        (INT, [1, None], DataType.uint64(), [1, None]),
        (TEXT, ["a", None], DataType.large_string(), ["a", None]),
        (TEXT, ["a", None], DataType.string_view(), ["a", None]),
    ],
)
def test_a_narrower_type_of_another_writer_is_widened(tmp_path, columns, values, kind, read) -> None:
    path = foreign(tmp_path / "f.parquet", x=Array(values, type=kind), newer=Array([1, 2], type=DataType.int8()))
    table = read_table(path, columns)
    assert as_rows(table) == {"x": read}


@pytest.mark.parametrize(
    ("columns", "values", "kind", "problem"),
    [
        (FREE, [1.0, math.nan, None], DataType.float64(), "row 1: is NaN where null is meant"),
        (FREE, [1.0, math.nan], DataType.float64(), "row 1: is NaN where null is meant"),
        (FREE, [None, math.inf], DataType.float64(), "row 1: inf is out of range"),
        (FREE, [None, 10.1], DataType.float64(), "row 1: 10.1 is out of range, >= 0 and <= 10"),
        (FREE, [1, 2], DataType.int64(), "has type Int64 instead of float"),
        (FREE, ["1"], DataType.string(), "has type Utf8 instead of float"),
        (INT, [1.0], DataType.float64(), "has type Float64 instead of int"),
        (INT, [1, 2**63], DataType.uint64(), "has type UInt64 instead of int"),
        (TEXT, ["a", None, "c"], DataType.string(), "row 2: 'c' is none of a, b"),
        (TEXT, [b"a"], DataType.binary(), "has type Binary instead of string"),
    ],
)
def test_what_the_schema_does_not_allow_is_not_read(tmp_path, columns, values, kind, problem) -> None:
    path = foreign(tmp_path / "f.parquet", x=Array(values, type=kind))
    with pytest.raises(InputError, match=f"f.parquet, column x(,|:) ?{problem}"):
        read_table(path, columns)


def test_a_missing_column_is_named(tmp_path) -> None:
    path = foreign(tmp_path / "f.parquet", y=Array([1.0], type=DataType.float64()))
    with pytest.raises(InputError, match=r"f.parquet, column x: is missing"):
        read_table(path, FREE)


def test_a_large_table_keeps_its_order_over_pages_and_batches(tmp_path) -> None:
    rows = 50_000
    t_s = np.arange(rows) / 30
    share = np.where(np.arange(rows) % 7 == 3, np.nan, t_s / t_s[-1])
    data = {"t_s": t_s, "share_frac": share, "frame": np.arange(rows), "seen": np.ones(rows, bool)}
    write_table(tmp_path / "t.parquet", COLUMNS, data | {"status": ["ok"] * rows})
    table = read_table(tmp_path / "t.parquet", COLUMNS)
    np.testing.assert_array_equal(table["t_s"], t_s)
    np.testing.assert_array_equal(table["share_frac"], share)
    np.testing.assert_array_equal(table["frame"], data["frame"])
    assert table["stamp_ns"].mask.all()


def test_a_file_cut_anywhere_is_an_input_error(tmp_path) -> None:
    path = tmp_path / "t.parquet"
    write_table(path, COLUMNS, GOOD)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="is empty" if size == 0 else "is cut short|is not a Parquet file"):
            read_table(path, COLUMNS)


def test_a_damaged_file_reads_or_is_an_input_error(tmp_path) -> None:
    path = tmp_path / "t.parquet"
    write_table(
        path,
        COLUMNS,
        {name: values * 20 for name, values in GOOD.items() if name != "t_s"} | {"t_s": range(60)},
    )
    whole = path.read_bytes()
    chance = random.Random(7)
    refused = []
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 1, 4))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            read_table(path, COLUMNS)
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all(line.startswith(str(path)) and "\n" not in line for line in refused)


@pytest.mark.parametrize("content", [b"t_s,frame\n0,1\n", b"PAR1", b"PAR1PAR1", b"PAR1" + b"\xff" * 40 + b"PAR1"])
def test_what_is_no_parquet_is_an_input_error(tmp_path, content) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"t.parquet: is (not a Parquet file|cut short|damaged)"):
        read_table(path, COLUMNS)


def test_a_folder_or_nothing_in_the_file_s_place_is_an_input_error(tmp_path) -> None:
    for path in (tmp_path, tmp_path / "none.parquet", tmp_path / "no" / "folder.parquet"):
        with pytest.raises(InputError, match="cannot be read"):
            read_table(path, COLUMNS)


def test_folder_names_may_be_strange(tmp_path) -> None:
    folder = tmp_path / "Fahrt #1 %20? é"
    folder.mkdir()
    write_table(folder / "t.parquet", COLUMNS, GOOD)
    assert as_rows(read_table(folder / "t.parquet", COLUMNS)) == GOOD


def test_reading_works_inside_a_running_event_loop(tmp_path) -> None:
    write_table(tmp_path / "t.parquet", COLUMNS, GOOD)

    async def read():
        return read_table(tmp_path / "t.parquet", COLUMNS)

    assert as_rows(asyncio.run(read())) == GOOD


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_else(tmp_path) -> None:
    path = tmp_path / "t.parquet"
    write_table(path, COLUMNS, GOOD)
    before = path.read_bytes()
    with (
        largest_file(100),
        pytest.raises(DashgazeError, match=r"t.parquet: cannot be written.*free some space") as caught,
    ):
        write_table(path, COLUMNS, GOOD)
    assert caught.value.exit_code == 1
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["t.parquet"]


def test_a_device_without_space_is_a_full_disk(tmp_path) -> None:
    (tmp_path / ".x.json.tmp").symlink_to("/dev/full")
    with pytest.raises(DashgazeError, match=r"x.json: cannot be written: no space left on device; free some space"):
        write_atomically(tmp_path / "x.json", b"{}")
    assert not any(tmp_path.iterdir())


def test_a_missing_folder_says_what_mends_it(tmp_path) -> None:
    with pytest.raises(DashgazeError, match="no such file or directory; choose a place in a folder that exists"):
        write_table(tmp_path / "no" / "t.parquet", COLUMNS, GOOD)


def test_importing_the_module_does_not_load_arro3() -> None:
    code = "import sys, dashgaze.drive; assert not any(m.startswith('arro3') for m in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
