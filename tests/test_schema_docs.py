"""`docs/schema.md` says what the code does, since it is made from it."""

import runpy
from pathlib import Path

import pytest

from dashgaze.drive import OBSERVATIONS
from dashgaze.session import TABLES

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_is_what_the_code_says() -> None:
    page = (DOCS / "schema.md").read_text(encoding="utf-8")
    made = runpy.run_path(str(DOCS / "schema.py"))["schema_markdown"]()
    assert page == made, "run: python docs/schema.py > docs/schema.md"


@pytest.mark.parametrize("columns", [*TABLES.values(), OBSERVATIONS])
def test_every_column_is_explained_and_named_by_its_unit(columns) -> None:
    endings = {"px": "_px", "deg": "_deg", "mm": "_mm", "m": "_m", "s": "_s", "ns": "_ns", "g": "_g"}
    endings |= {"deg/s": "_dps", "m/s": "_mps", "1/min": "_per_min"}
    names = [column.name for column in columns]
    assert len(set(names)) == len(names)
    for column in columns:
        assert column.meaning
        assert column.name.endswith(endings.get(column.unit, "")), column
        assert "|" not in column.meaning


def test_sessions_and_drives_use_the_same_names_for_the_same_thing() -> None:
    frames = {column.name: column for column in TABLES["frames"]}
    shared = [column for column in OBSERVATIONS if column.name in frames]
    assert len(shared) > 50
    for column in shared:
        other = frames[column.name]
        assert (column.type, column.unit, column.meaning) == (other.type, other.unit, other.meaning)
