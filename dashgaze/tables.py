"""Tables of sessions and drives: what a column is, what a status says, and Parquet written atomically.

One `Column` per column is the only definition of the schema: writers cast to it, readers check against it,
and `docs/schema.md` is tested against it.

In memory a table is a dict from column name to array, in the order of the schema:

- float: float64, NaN where null;
- int and bool: int64 and bool; a masked array, masked where null, if the column is nullable;
- string: object array of str, None where null.

In the file a null is a Parquet null; NaN and infinity are errors there. Rows count from 0. A reader leaves
out columns that it does not know; every column that it knows must be there.
"""

import errno
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from dashgaze.errors import DashgazeError, InputError

if TYPE_CHECKING:  # arro3 loads native code: only who reads or writes a table pays for it
    from arro3.core import ChunkedArray, DataType, RecordBatch, Schema
    from arro3.core import Table as ArrowTable

Table = dict[str, NDArray[Any]]
ColumnType = Literal["float", "int", "bool", "string"]
Cell = float | int | bool | str | None

ROUNDING = 1e-6
"""How far beyond its range a float may lie: a unit vector's component can be 1 + 2e-16."""

_INT64 = np.iinfo(np.int64)
_DTYPES: dict[ColumnType, type] = {
    "float": np.float64,
    "int": np.int64,
    "bool": np.bool_,
    "string": np.object_,
}
_CASTABLE: dict[ColumnType, str] = {"float": "fiu", "int": "i", "bool": "b", "string": ""}
"""numpy kinds that become a column's type without looking at each value."""


class Status(StrEnum):
    """Why a measured value is there, or is not. Values without a usable measurement are null, never zero."""

    OK = "ok"
    PROPAGATED = "propagated"
    OFF_VIEW = "off_view"
    EYES_CLOSED = "eyes_closed"
    NOT_WORN = "not_worn"
    NO_FACE = "no_face"
    BLOCKED = "blocked"
    NO_MATCH = "no_match"
    LOW_QUALITY = "low_quality"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. A column named `t_s` never goes backward from row to row."""

    name: str
    type: ColumnType
    unit: str
    nullable: bool
    meaning: str
    low: float | None = None
    """Smallest value allowed, inclusive; numbers only."""
    high: float | None = None
    values: tuple[str, ...] | None = None
    """The only strings allowed; None for free text."""

    def limits(self) -> tuple[float, float]:
        """Smallest and largest number that is accepted; finite, so that they also keep out infinity."""
        if self.type == "int":
            low = int(_INT64.min) if self.low is None else self.low
            return low, int(_INT64.max) if self.high is None else self.high
        low = -sys.float_info.max if self.low is None else self.low - ROUNDING
        return low, sys.float_info.max if self.high is None else self.high + ROUNDING

    def problem(self, value: object) -> str:
        """Say that a value lies outside what the column allows."""
        if self.values is not None:
            return f"{value!r:.60} is none of {', '.join(self.values)}"
        bounds = [f">= {self.low:g}"] if self.low is not None else []
        bounds += [f"<= {self.high:g}"] if self.high is not None else []
        return f"{value} is out of range, {' and '.join(bounds) or 'must be finite'}"


def acceptor(column: Column) -> Callable[[object], Cell]:
    """Return the function that turns one value into what is stored of it: NaN into null, numpy into Python.

    It raises ValueError, saying what is wrong with the value.
    """

    def null() -> Cell:
        if not column.nullable:
            raise ValueError("is null")
        return None

    def accept_number(value: object) -> Cell:
        if type(value) is python_type and low <= value <= high:
            return value  # nearly always, and it happens sixty times per frame
        if value is None:
            return null()
        number = convert(value)
        if number != number:
            return null()
        if not low <= number <= high:
            raise ValueError(column.problem(number))
        return number

    def accept_bool(value: object) -> Cell:
        if value is None:
            return null()
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"{value!r:.60} is not a bool")
        return bool(value)

    def accept_string(value: object) -> Cell:
        if value is None:
            return null()
        if not isinstance(value, str):
            raise ValueError(f"{value!r:.60} is not a string")
        if column.values is not None and value not in column.values:
            raise ValueError(column.problem(value))
        return _to_text(value)

    if column.type == "bool":
        return accept_bool
    if column.type == "string":
        return accept_string
    low, high = column.limits()
    python_type, convert = (float, _to_float) if column.type == "float" else (int, _to_int)
    return accept_number


def _to_float(value: object) -> float:
    if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
        raise ValueError(f"{value!r:.60} is not a number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError("is too large for a number") from None


def _to_int(value: object) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise ValueError(f"{value!r:.60} is not an int")
    return int(value)


def _to_text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{value!r:.60} cannot be stored as UTF-8") from None
    return str(value)


def write_table(path: Path, columns: Sequence[Column], data: Mapping[str, Any]) -> None:
    """Write one table atomically as Parquet (Zstandard).

    `data` maps column names to equally long sequences or arrays; None, NaN and masked are null. A nullable
    column that is not given is null throughout. Raises InputError that names file, column and row, or
    DashgazeError when the file cannot be written.
    """
    write_batches(path, columns, [encode(str(path), columns, data)])


def encode(where: str, columns: Sequence[Column], data: Mapping[str, Any], first_row: int = 0) -> "RecordBatch":
    """Check rows against the schema and return them as one Arrow batch.

    `where` names the table and `first_row` is the number of the first row, both for the error's text.
    """
    unknown = sorted(data.keys() - {column.name for column in columns})
    if unknown:
        raise InputError(f"{where}, column {unknown[0]}", "is not a column of this table")
    rows = max(map(len, data.values()), default=0)
    table = {}
    for column in columns:
        values = data.get(column.name, [None] * rows)
        if len(values) != rows:
            raise InputError(f"{where}, column {column.name}", f"has {len(values)} rows, another column has {rows}")
        table[column.name] = _as_array(where, column, values, first_row)
    _check(where, columns, table, first_row)
    return batch(columns, [_cells(table[column.name]) for column in columns])


def batch(columns: Sequence[Column], cells: Sequence[Sequence[Cell]]) -> "RecordBatch":
    """Return one Arrow batch of values that `acceptor` has let through, one sequence per column."""
    from arro3.core import Array, RecordBatch

    arrays = [Array(values, type=_arrow_type(column)) for column, values in zip(columns, cells, strict=True)]
    return RecordBatch.from_arrays(arrays, schema=_schema(columns))


def write_batches(path: Path, columns: Sequence[Column], batches: "Sequence[RecordBatch]") -> None:
    """Write batches of these columns as one Parquet file, atomically. Raises DashgazeError."""
    from arro3.core import RecordBatchReader
    from arro3.io import write_parquet

    # Into memory first, because arro3 turns a full disk into a panic. Dictionaries for strings only: measured
    # numbers hardly repeat, and looking for repetitions triples the time.
    parquet = BytesIO()
    write_parquet(
        RecordBatchReader.from_batches(_schema(columns), batches),
        parquet,
        compression="zstd(1)",
        dictionary_enabled=False,
        column_dictionary_enabled={column.name: True for column in columns if column.type == "string"},
    )
    write_atomically(path, parquet.getbuffer())


def read_table(path: Path, columns: Sequence[Column]) -> Table:
    """Read and check these columns of a Parquet file; other columns of the file are left out.

    Raises InputError that names the file and, where it is one column's or one value's fault, column and row.
    """
    arrow = _read_parquet(path)
    where = str(path)
    names = arrow.schema.names
    for column in columns:
        if names.count(column.name) != 1:
            problem = "is there more than once" if column.name in names else "is missing"
            raise InputError(f"{where}, column {column.name}", problem, "write the file anew")
    table = {column.name: _from_arrow(where, column, arrow.column(column.name)) for column in columns}
    _check(where, columns, table)
    return table


def concatenate(columns: Sequence[Column], tables: Sequence[Table]) -> Table:
    """Put tables of the same columns one after the other; no tables give a table without rows."""
    return {column.name: _join(column, [table[column.name] for table in tables]) for column in columns}


def null_mask(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where a column in memory is null."""
    if values.dtype.kind == "O":
        return np.array([value is None for value in values], dtype=np.bool_)
    if values.dtype.kind == "f":
        return np.asarray(np.isnan(values))
    return np.ma.getmaskarray(values)


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that, whatever happens, `path` is complete or as it was before.

    Raises DashgazeError that says what mends it; nothing is left behind then.
    """
    with atomic_file(path) as file:
        file.write(data)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write to, for what need not be in memory at once; otherwise as `write_atomically`."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise write_failure(path, error) from error
        raise


def replace_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Put a folder with `contents`, bytes by name, in the place of `folder`.

    Until the very last step the old one stays. Raises DashgazeError that says what mends it.
    """
    try:
        _replace_folder(folder, contents)
    except OSError as error:
        raise write_failure(folder, error) from error


def _replace_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as workspace:
        new, old = Path(workspace) / "new", Path(workspace) / "old"
        new.mkdir()
        for name, data in contents.items():
            with (new / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(new)
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make new, renamed and removed names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_failure(path: Path, error: OSError) -> DashgazeError:
    """Say why `path` could not be written, and what mends it."""
    remedies = {
        **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space or choose another folder"),
        **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make the folder writable or choose another"),
        **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), "choose a place in a folder that exists"),
        errno.EIO: "check the disk",
    }
    reason = (error.strerror or str(error)).lower()
    kind = InputError if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EROFS) else DashgazeError
    return kind(str(path), f"cannot be written: {reason}", remedies.get(error.errno or 0, ""))


def _row_error(where: str, column: Column, row: int, problem: str) -> InputError:
    return InputError(f"{where}, column {column.name}, row {row}", problem)


def _as_array(where: str, column: Column, values: Any, first_row: int) -> NDArray[Any]:
    """Return values that a caller gives as the column's array; their range is checked later."""
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in _CASTABLE[column.type]:
        array: NDArray[Any] = values.astype(_DTYPES[column.type])
        if column.type == "float":
            return np.asarray(np.ma.filled(array, np.nan))
        return array if np.ma.isMaskedArray(array) else _nullable(column, array)
    accept = acceptor(column)
    cells: list[Cell] = []
    for value in values:
        try:
            cells.append(accept(value))
        except ValueError as error:
            raise _row_error(where, column, first_row + len(cells), str(error)) from None
    return _from_cells(column, cells)


def _from_cells(column: Column, cells: Sequence[Cell]) -> NDArray[Any]:
    if column.type == "float":
        return np.array(cells, dtype=np.float64)  # None becomes NaN
    values = np.array(cells, dtype=np.object_)
    if column.type == "string":
        return values
    nulls = null_mask(values)
    values[nulls] = 0
    dense: NDArray[Any] = values.astype(_DTYPES[column.type])
    return np.ma.masked_array(dense, mask=nulls) if column.nullable else dense


def _nullable(column: Column, values: NDArray[Any]) -> NDArray[Any]:
    """Return values without nulls as the column's array."""
    masked = column.nullable and column.type in ("int", "bool")
    return np.ma.masked_array(values, mask=np.zeros(len(values), np.bool_)) if masked else values


def _join(column: Column, parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    if not parts:
        return _from_cells(column, [])
    values = np.concatenate([np.ma.getdata(part) for part in parts])
    if not np.ma.isMaskedArray(parts[0]):
        return values
    return np.ma.masked_array(values, mask=np.concatenate([null_mask(part) for part in parts]))


def _cells(values: NDArray[Any]) -> list[Cell]:
    cells: list[Cell] = np.ma.getdata(values).tolist()
    for row in np.flatnonzero(null_mask(values)):
        cells[row] = None
    return cells


def _check(where: str, columns: Sequence[Column], table: Table, first_row: int = 0) -> None:
    """Raise InputError at the first value that the schema does not allow."""
    for column in columns:
        values = table[column.name]
        nulls = null_mask(values)
        if not column.nullable and nulls.any():
            raise _row_error(where, column, first_row + int(np.argmax(nulls)), "is null")
        wrong = _out_of_schema(column, values) & ~nulls
        if wrong.any():
            row = int(np.argmax(wrong))
            raise _row_error(where, column, first_row + row, column.problem(values[row]))
    if "t_s" in table:
        check_time(where, table["t_s"], first_row)


def check_time(where: str, t_s: NDArray[np.float64], first_row: int = 0) -> None:
    """Raise InputError where time goes backward."""
    backward = np.flatnonzero(np.diff(t_s) < 0)
    if len(backward):
        row = int(backward[0]) + 1
        problem = f"goes backward, from {t_s[row - 1]} to {t_s[row]}"
        raise InputError(f"{where}, column t_s, row {first_row + row}", problem, "sort the rows by t_s")


def _out_of_schema(column: Column, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which values lie outside the column's range or values; meaningless where null."""
    if column.type in ("float", "int"):
        low, high = column.limits()
        numbers = np.ma.getdata(values)
        return np.asarray(~((numbers >= low) & (numbers <= high)))
    if column.values is None or frozenset((*column.values, None)).issuperset(values):
        return np.zeros(len(values), np.bool_)
    return np.array([value not in column.values for value in values], np.bool_)


def _read_parquet(path: Path) -> "ArrowTable":
    """Read a Parquet file whole; whatever is wrong with it is an InputError.

    arro3's asynchronous reader is used because a broken page makes its plain one abort the process. It runs
    in a thread of its own, for the caller may be inside an event loop.
    """
    _check_magic(path)
    with ThreadPoolExecutor(1) as thread:
        try:
            return thread.submit(_decode, path).result()
        except Exception as error:
            reason = str(error).strip().partition("\n")[0][:200]
            raise InputError(str(path), f"is damaged: {reason}", "restore or remove it") from error


def _decode(path: Path) -> "ArrowTable":
    import asyncio

    from arro3.io import read_parquet_async
    from arro3.io.store import LocalStore

    async def decode() -> "ArrowTable":
        return await read_parquet_async(path.name, store=LocalStore(prefix=str(path.parent.absolute())))

    return asyncio.run(decode())


def _check_magic(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            first = file.read(4)
            file.seek(max(size - 4, 0))
            last = file.read(4)
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {(error.strerror or str(error)).lower()}") from None
    if not size:
        raise InputError(str(path), "is empty", "restore or remove it")
    if first != b"PAR1":
        raise InputError(str(path), "is not a Parquet file", "restore or remove it")
    if last != b"PAR1" or size < 12:
        raise InputError(str(path), "is cut short", "restore or remove it")


def _from_arrow(where: str, column: Column, arrow: "ChunkedArray") -> NDArray[Any]:
    """Return a column of a file as array, widened where another tool stored a narrower type."""
    wanted = _arrow_type(column)
    if arrow.type != wanted:
        wide = arrow.cast(wanted) if _can_widen(column, arrow.type) else None
        if wide is None or wide.null_count != arrow.null_count:
            problem = f"has type {_type_name(arrow.type)} instead of {column.type}"
            raise InputError(f"{where}, column {column.name}", problem, "write the file anew")
        arrow = wide
    parts = [
        _from_cells(column, list(chunk.to_pylist())) if chunk.null_count else _nullable(column, chunk.to_numpy())
        for chunk in arrow.chunks
    ]
    values = _join(column, parts)
    if column.type == "float" and np.count_nonzero(np.isnan(values)) != arrow.null_count:
        row = next(row for row, cell in enumerate(arrow.to_pylist()) if cell is not None and cell != cell)
        raise _row_error(where, column, row, "is NaN where null is meant")
    return values


def _can_widen(column: Column, found: "DataType") -> bool:
    from arro3.core import DataType

    if column.type == "float":
        return DataType.is_floating(found)
    if column.type == "int":
        return DataType.is_integer(found)
    text = (DataType.string(), DataType.large_string(), DataType.string_view())
    return column.type == "string" and (found in text or found.value_type in text)


def _type_name(found: "DataType") -> str:
    return str(found).partition("<")[2].strip().removesuffix(">")


def _arrow_type(column: Column) -> "DataType":
    from arro3.core import DataType

    types = {
        "float": DataType.float64,
        "int": DataType.int64,
        "bool": DataType.bool,
        "string": DataType.string,
    }
    return types[column.type]()


def _schema(columns: Sequence[Column]) -> "Schema":
    from arro3.core import Field, Schema

    return Schema([Field(column.name, _arrow_type(column), column.nullable) for column in columns])
