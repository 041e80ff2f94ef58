"""Identities of the synthetic cabin: distributions, symmetry, one trait at a time."""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashgaze.training.synth.person import AXES, FEATURES, features, person_of, with_feature
from dashgaze.training.synth.records import Person

seeds = st.integers(0, 2**40)


@pytest.fixture(scope="module")
def people() -> list[Person]:
    return [person_of(seed) for seed in range(400)]


def test_a_seed_is_one_person_and_other_seeds_are_others(people: Sequence[Person]) -> None:
    assert person_of(17) == people[17]
    names = sorted({name for person in people for name in person.shape})
    shapes = np.array([[person.shape.get(name, 0.0) for name in names] for person in people])
    nearest = min(np.linalg.norm(np.delete(shapes, i, axis=0) - shapes[i], axis=1).min() for i in range(50))
    assert nearest > 1.0  # ten traits that differ by 0.3 each


def test_eyes_are_as_far_apart_as_dodgson_reports(people: Sequence[Person]) -> None:
    men = np.array([p.ipd_mm for p in people if p.male > 0.5])
    women = np.array([p.ipd_mm for p in people if p.male < 0.5])
    both = np.concatenate([men, women])
    assert men.mean() == pytest.approx(64.7, abs=0.9)
    assert women.mean() == pytest.approx(62.3, abs=0.9)
    assert both.mean() == pytest.approx(63.4, abs=0.6)
    assert both.std() == pytest.approx(3.8, abs=0.4)


def test_kappa_has_its_published_spread_and_eyes_agree(people: Sequence[Person]) -> None:
    kappa = np.array([p.kappa_deg for p in people])  # person, eye, (towards the nose, up)
    assert kappa[..., 0].mean() == pytest.approx(4.5, abs=0.2)
    assert kappa[..., 0].std() == pytest.approx(1.7, abs=0.2)
    assert kappa[..., 1].mean() == pytest.approx(1.2, abs=0.15)
    for axis in range(2):
        assert 0.6 < np.corrcoef(kappa[:, 0, axis], kappa[:, 1, axis])[0, 1] < 0.8


def test_both_sexes_all_ages_and_many_glasses(people: Sequence[Person]) -> None:
    ages = np.array([p.age_years for p in people])
    assert 0.45 < np.mean([p.male > 0.5 for p in people]) < 0.55
    assert ages.min() >= 18
    assert ages.max() <= 75
    assert np.mean((ages > 20) & (ages < 65)) > 0.8
    assert 0.24 < np.mean([p.eyewear == "clear" for p in people]) < 0.38
    assert np.mean([p.face_mask for p in people]) < 0.05


def test_ancestry_adds_up_and_is_mostly_but_not_always_nearly_pure(people: Sequence[Person]) -> None:
    shares = np.array([(p.african, p.asian, p.caucasian) for p in people])
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    pure = shares.max(axis=1) > 0.85
    assert 0.5 < pure.mean() < 0.9
    assert all(np.mean(shares[:, i] > 0.85) > 0.1 for i in range(3))


def test_age_shows(people: Sequence[Person]) -> None:
    ages = np.array([p.age_years for p in people])
    assert np.corrcoef(ages, [p.wrinkles for p in people])[0, 1] > 0.6
    assert np.corrcoef(ages, [p.grey for p in people])[0, 1] > 0.4
    assert np.corrcoef(ages, [p.lid_opening_mm[0] for p in people])[0, 1] < -0.1


def test_lids_open_by_nine_to_ten_millimetres(people: Sequence[Person]) -> None:
    upper, lower = np.array([p.lid_opening_mm for p in people]).T
    assert upper.mean() == pytest.approx(4.2, abs=0.15)
    assert lower.mean() == pytest.approx(5.15, abs=0.1)
    assert 9.1 < (upper + lower).mean() < 9.6


def test_pupils_are_three_to_four_millimetres_by_day(people: Sequence[Person]) -> None:
    pupils = np.array([p.pupil_mm for p in people])
    assert 3.0 < pupils.mean() < 4.0
    assert pupils.min() > 1.8


def test_beards_and_bald_heads_are_men_s_and_make_up_is_not(people: Sequence[Person]) -> None:
    for person in people:
        if person.male < 0.5:
            assert person.facial_hair == "none"
            assert person.hair_style not in ("bald", "shaved")
        else:
            assert person.make_up == 0.0
    assert {p.facial_hair for p in people} == {"none", "stubble", "moustache", "goatee", "beard"}
    assert {p.hair_style for p in people} == {"bald", "shaved", "short", "medium", "long", "tied"}


def test_opposite_shapes_never_act_together_and_weights_stay_within_one(people: Sequence[Person]) -> None:
    for person in people[:200]:
        assert all(0.0 < weight <= 1.0 for weight in person.shape.values())
        for (negative, positive), stems in AXES.items():
            for stem in stems:
                for name in {stem.replace("?", side) for side in "lr"}:
                    assert not {f"{name}-{negative}", f"{name}-{positive}"} <= person.shape.keys()


def test_traits_of_a_face_vary_together(people: Sequence[Person]) -> None:
    def place(person: Person, stem: str) -> float:
        return person.shape.get(f"{stem}-incr", 0.0) - person.shape.get(f"{stem}-decr", 0.0)

    def correlation(a: Sequence[float], b: Sequence[float]) -> float:
        return float(np.corrcoef(a, b)[0, 1])

    lips = [[place(p, f"mouth/mouth-{lip}-volume") for p in people] for lip in ("upperlip", "lowerlip")]
    flesh = [place(p, "cheek/l-cheek-volume") for p in people]
    assert correlation(*lips) > 0.4
    assert correlation(flesh, [p.weight for p in people]) > 0.4
    assert correlation(lips[0], [p.african for p in people]) > 0.2
    assert correlation([place(p, "chin/chin-width") for p in people], [p.male for p in people]) > 0.2


def test_no_target_holds_whole_crowds_at_its_end(people: Sequence[Person]) -> None:
    assert np.mean([w >= 1.0 for p in people for w in p.shape.values()]) < 0.003


def test_heads_stay_round(people: Sequence[Person]) -> None:
    bones = (w for p in people for name, w in p.shape.items() if name.startswith("head/") and "head-fat" not in name)
    assert max(bones) < 0.65


def test_faces_are_nearly_but_not_exactly_symmetric(people: Sequence[Person]) -> None:
    differences = []
    for person in people[:200]:
        for name, weight in person.shape.items():
            if "/l-" in name:
                differences.append(weight - person.shape.get(name.replace("/l-", "/r-"), 0.0))
    assert 0.005 < np.std(differences) < 0.05


@settings(max_examples=30)
@given(seeds, seeds, st.sampled_from(FEATURES))
def test_one_feature_is_taken_and_everything_else_stays(seed: int, other_seed: int, feature: str) -> None:
    person, other = person_of(seed), person_of(other_seed)
    mixed = with_feature(person, feature, other)
    assert features(mixed, feature) == features(other, feature)
    assert with_feature(mixed, feature, person) == person
    for rest in set(FEATURES) - {feature}:
        assert features(mixed, rest) == features(person, rest)
    untouched = {"seed", "male", "age_years", "african", "asian", "caucasian", "weight", "eyewear", "headwear"}
    for name in untouched & {field.name for field in fields(Person)}:
        assert getattr(mixed, name) == getattr(person, name)


def test_every_feature_differs_between_people() -> None:
    woman, man = (
        next(p for p in map(person_of, range(99)) if (p.male > 0.5) is man and p.moles) for man in (False, True)
    )
    bearded = next(p for p in map(person_of, range(99)) if p.facial_hair == "beard")
    for feature in FEATURES:
        assert features(woman, feature) != features(bearded if feature == "facial_hair" else man, feature)


def test_an_unknown_feature_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown feature 'tail'"):
        features(person_of(0), "tail")
