"""A drive of a set depends on the set's seed and its own number alone; drivers of different sets are other people."""

from dataclasses import replace

import pytest

from dashgaze.training.synth.drives import (
    BLOCK,
    MAX_SEED,
    MAX_SESSIONS,
    RECURRING,
    RIDER_SEED,
    RIDERS,
    STRANGER_SEED,
    SetPlan,
    seed_of,
)

PLAN = SetPlan(sessions=64, seed=7)


def test_a_larger_set_begins_with_the_smaller_one():
    larger = replace(PLAN, sessions=1000)
    assert [PLAN.drive(n) for n in range(64)] == [larger.drive(n) for n in range(64)]


def test_every_drive_of_a_plain_set_has_its_own_driver():
    assert len({PLAN.drive(n).person_seed for n in range(64)}) == 64


def test_sets_of_different_seeds_share_no_driver():
    others = {replace(PLAN, seed=8).drive(n).person_seed for n in range(64)}
    assert not others & {PLAN.drive(n).person_seed for n in range(64)}


def test_all_kinds_of_light_mount_weather_and_traffic_occur():
    drives = [PLAN.drive(n) for n in range(64)]
    assert {d.light for d in drives} == {"day", "overcast", "dusk", "night", "infrared"}
    assert {d.mount for d in drives} == {"mirror", "windscreen", "corner"}
    assert {d.weather for d in drives} == {"clear", "cloudy", "rain"}
    assert {d.traffic for d in drives} == {"light", "moderate", "dense"}
    assert {d.hand_of_drive for d in drives} == {"left", "right"}


def test_a_recurring_driver_comes_back_in_other_light_at_another_mount_and_with_or_without_glasses():
    plan = replace(PLAN, recurring=True)
    for block in range(8):
        for place in range(RECURRING):
            first = plan.drive(block * BLOCK + place)
            again = plan.drive(block * BLOCK + BLOCK - RECURRING + place)
            assert first.driver_id == again.driver_id
            assert first.person_seed == again.person_seed
            assert first.hand_of_drive == again.hand_of_drive
            assert first.mount != again.mount
            assert first.eyewear != again.eyewear
            assert (first.time_of_day, first.light) != (again.time_of_day, again.light)
    drivers = {plan.drive(n).driver_id for n in range(64)}
    assert len(drivers) == 64 * (BLOCK - RECURRING) // BLOCK


def test_no_two_people_of_any_set_share_a_seed():
    most_drivers = MAX_SESSIONS * 1000  # stills of 1000 people a session
    assert seed_of(0, most_drivers) < seed_of(1, 0)
    assert seed_of(MAX_SEED, most_drivers) < RIDER_SEED < RIDER_SEED + RIDERS < STRANGER_SEED


def test_nobody_rides_twice_in_a_car():
    for number in range(64):
        riders = PLAN.drive(number).passengers
        assert len(set(riders)) == len(riders)
        assert all(0 <= rider < RIDERS for rider in riders)


@pytest.mark.parametrize("light", ["day", "infrared"])
def test_a_set_in_one_light_has_no_other(light):
    assert {replace(PLAN, light=light).drive(n).light for n in range(20)} == {light}
