"""Splits of sessions into training, validation and test: nobody is in two of them.

A network that has seen a driver knows that driver's eyes; its error on another session of the same driver says nothing
about strangers. All of this needs `session.json` alone, so that it is settled before any picture is looked at.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dashgaze.errors import InputError
from dashgaze.session import SessionHeader, read_session, refuse_occupied
from dashgaze.tables import write_failure
from dashgaze.training.gaze.samples import find_sessions

SPLITS = ("train", "validation", "test")
FRACTIONS = (0.82, 0.10, 0.08)
"""Of sessions in training, validation and test, as in section 12.3.1."""


class Described(Protocol):
    """What a split has to know of a session: `SessionHeader`, `SessionSamples`."""

    @property
    def session_id(self) -> str:
        """Unique id of the session."""

    @property
    def driver_id(self) -> str | None:
        """Pseudonym of the driver."""


def read_headers(sets: Sequence[Path]) -> tuple[SessionHeader, ...]:
    """Headers of the sessions of sets, in the order of `samples.prepare`. Raises InputError."""
    return tuple(read_session(path).header for path in find_sessions(sets))


def check_disjoint(splits: Mapping[str, Sequence[Described]]) -> None:
    """Raise InputError unless splits, by name, share no session and no driver, and none is empty.

    Drivers who are not named may be in one of them only: in two they could be the same.
    """
    for name, sessions in splits.items():
        if not sessions:
            raise InputError(name, "has no sessions")
    for (first, firsts), (second, seconds) in combinations(splits.items(), 2):
        same = {one.session_id for one in firsts} & {one.session_id for one in seconds}
        if same:
            raise InputError(f"{first} and {second}", f"session {min(same)} is in both", "leave it out of one")
        nameless = [next((one.session_id for one in each if one.driver_id is None), None) for each in (firsts, seconds)]
        if nameless[0] is not None and nameless[1] is not None:
            problem = f"sessions {nameless[0]} and {nameless[1]} have no driver_id: they may show one driver"
            raise InputError(f"{first} and {second}", problem, "write driver_id into session.json")
        drivers = {one.driver_id for one in firsts} & {one.driver_id for one in seconds}
        if drivers:
            raise InputError(f"{first} and {second}", f"driver {min(map(str, drivers))} is in both", "leave out one's")


def split_sessions(
    headers: Sequence[SessionHeader], fractions: Sequence[float] = FRACTIONS, seed: int = 0
) -> tuple[tuple[int, ...], ...]:
    """Numbers of the sessions of each split, ascending: disjoint by driver, alike in what `_STRATA` names.

    Greedy: drivers with many sessions first, each into the split that then lacks least of every kind of session (sum of
    squared differences between has and should have, over should have). Sessions without `driver_id` count as one
    driver's. Raises InputError for fractions that are none, and for fewer drivers than splits.
    """
    shares = np.array(fractions, dtype=float)
    if not (len(shares) and (shares > 0).all() and abs(shares.sum() - 1) < 1e-6):
        raise InputError("fractions", f"{tuple(fractions)} must be positive and sum to 1")
    drivers = sorted({str(header.driver_id) for header in headers})
    if len(drivers) < len(shares):
        raise InputError("sessions", f"{len(drivers)} drivers cannot be split into {len(shares)} sets", "record more")
    driver_of = np.array([drivers.index(str(header.driver_id)) for header in headers])
    kinds = _kinds(headers)
    has = np.stack([kinds[driver_of == driver].sum(axis=0) for driver in range(len(drivers))])
    wanted = shares[:, None] * kinds.sum(axis=0)
    order = np.random.default_rng(seed).permutation(len(drivers))
    split_of, filled = np.full(len(drivers), -1), np.zeros_like(wanted)
    for done, driver in enumerate(order[np.argsort(-has[order, 0], kind="stable")]):
        gain = (2 * has[driver] * (wanted - filled) - has[driver] ** 2) / wanted
        empty = np.setdiff1d(np.arange(len(shares)), split_of)
        allowed = empty if len(empty) == len(drivers) - done else np.arange(len(shares))
        split_of[driver] = allowed[gain[allowed].sum(axis=1).argmax()]
        filled[split_of[driver]] += has[driver]
    return tuple(tuple(np.flatnonzero(split_of[driver_of] == split).tolist()) for split in range(len(shares)))


def link_splits(sets: Sequence[Path], out: Path, seed: int = 0) -> dict[str, int]:
    """Make the sets OUT/train, validation and test of links to sessions; how many each has. Raises InputError."""
    refuse_occupied(out)
    paths = find_sessions(sets)
    splits = split_sessions(read_headers(sets), FRACTIONS, seed)
    try:
        for name, numbers in zip(SPLITS, splits, strict=True):
            (out / name).mkdir(parents=True)
            for number in numbers:
                (out / name / f"{number:05d}").symlink_to(paths[number].resolve(), target_is_directory=True)
    except OSError as error:
        raise write_failure(out, error) from error
    return dict(zip(SPLITS, map(len, splits), strict=True))


_STRATA = ("time_of_day", "glasses", "camera_position")


def _kinds(headers: Sequence[SessionHeader]) -> NDArray[np.float64]:
    """(sessions, 1 + kinds) 1 where a session is of a kind; the first column is 1 for all."""
    columns = [np.ones(len(headers))]
    for name in _STRATA:
        values = [str(getattr(header, name)) for header in headers]
        columns += [np.array([value == kind for value in values], float) for kind in sorted(set(values))]
    return np.stack(columns, axis=1)
