"""Nobody is in two splits, and splits are alike."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashgaze.errors import InputError
from dashgaze.session import SessionHeader, Versions, write_record
from dashgaze.training.gaze.splits import FRACTIONS, check_disjoint, link_splits, read_headers, split_sessions


def header(number: int, driver: str | None, **known: str) -> SessionHeader:
    return SessionHeader.model_validate(
        {
            "session_id": f"s{number}",
            "created": datetime(2026, 1, 1, tzinfo=UTC),
            "driver_id": driver,
            "versions": Versions(dashgaze="0.1.0", python="3.11"),
            **known,
        }
    )


def some_headers(rng: np.random.Generator, sessions: int, drivers: int) -> list[SessionHeader]:
    """Every driver has a session at least."""
    who = np.r_[np.arange(drivers), rng.integers(drivers, size=sessions - drivers)]
    return [
        header(
            number,
            f"d{driver}",
            time_of_day=str(rng.choice(["day", "dusk", "night"], p=[0.6, 0.1, 0.3])),
            glasses=str(rng.choice(["none", "clear", "sunglasses"], p=[0.6, 0.3, 0.1])),
            camera_position=str(rng.choice(["corner", "mirror"])),
        )
        for number, driver in enumerate(who)
    ]


@st.composite
def headers(draw: st.DrawFn) -> list[SessionHeader]:
    drivers = draw(st.integers(3, 30))
    return some_headers(np.random.default_rng(draw(st.integers(0, 99))), drivers + draw(st.integers(0, 30)), drivers)


@settings(max_examples=40, deadline=None)
@given(headers(), st.integers(0, 3))
def test_each_session_is_in_one_split_and_each_driver_too(found: list[SessionHeader], seed: int) -> None:
    splits = split_sessions(found, seed=seed)
    assert sorted(number for split in splits for number in split) == list(range(len(found)))
    check_disjoint({str(name): [found[number] for number in split] for name, split in enumerate(splits)})
    assert split_sessions(found, seed=seed) == splits


def test_splits_have_their_shares_of_every_kind() -> None:
    found = some_headers(np.random.default_rng(0), 600, 300)
    splits = split_sessions(found)
    for split, share in zip(splits, FRACTIONS, strict=True):
        assert len(split) == pytest.approx(share * len(found), abs=6)
        for kind in ("time_of_day", "glasses", "camera_position"):
            here = Counter(getattr(found[number], kind) for number in split)
            for value, count in Counter(getattr(one, kind) for one in found).items():
                assert here[value] == pytest.approx(share * count, abs=6)


def test_sessions_without_a_driver_stay_together() -> None:
    found = [header(number, None if number < 4 else f"d{number}") for number in range(12)]
    splits = split_sessions(found)
    assert sum(bool({0, 1, 2, 3} & set(split)) for split in splits) == 1


@pytest.mark.parametrize("fractions", [(0.5, 0.6), (1.2, -0.2), (), (float("nan"), 0.5)])
def test_fractions_must_be_fractions(fractions: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="fractions"):
        split_sessions([header(0, "a"), header(1, "b")], fractions)


def test_too_few_drivers_are_refused() -> None:
    with pytest.raises(InputError, match="2 drivers cannot be split into 3 sets"):
        split_sessions([header(0, "a"), header(1, "b"), header(2, "b")])


def test_a_driver_in_two_splits_is_named_with_both() -> None:
    with pytest.raises(InputError, match="train and test: driver anna is in both"):
        check_disjoint({"train": [header(0, "anna")], "validation": [header(1, "bert")], "test": [header(2, "anna")]})


def test_a_session_in_two_splits_is_named() -> None:
    with pytest.raises(InputError, match="train and validation: session s7 is in both"):
        check_disjoint({"train": [header(7, "anna")], "validation": [header(7, "anna")]})


def test_drivers_without_a_name_may_be_in_one_split_only() -> None:
    check_disjoint({"train": [header(0, None)], "test": [header(1, "anna")]})
    with pytest.raises(InputError, match="sessions s0 and s1 have no driver_id"):
        check_disjoint({"train": [header(0, None)], "test": [header(1, None)]})


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(InputError, match="validation: has no sessions"):
        check_disjoint({"train": [header(0, "anna")], "validation": []})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        (tmp_path / f"{number:05d}").mkdir()
        write_record(tmp_path / f"{number:05d}" / "session.json", header(number, f"d{number}"))
    (tmp_path / "set.json").write_text("{}")
    return tmp_path


def test_headers_are_read_from_session_json_alone(folder: Path) -> None:
    assert [one.session_id for one in read_headers([folder])] == ["s0", "s1", "s2"]
    assert [one.session_id for one in read_headers([folder / "00002", folder / "00000"])] == ["s2", "s0"]


def test_a_set_named_twice_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="00001: is named twice"):
        read_headers([folder / "00001", folder])


def test_linked_splits_are_sets_that_share_nobody(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("sets") / "mine"
    assert link_splits([folder], out) == {"train": 1, "validation": 1, "test": 1}
    check_disjoint({name: read_headers([out / name]) for name in ("train", "validation", "test")})
    with pytest.raises(InputError, match="is there already"):
        link_splits([folder], out)
