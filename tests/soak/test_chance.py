"""What must hold whatever the seed, over several; and how often chance looks like more, over hundreds of trials."""

import drawn_oddities
import pytest
import tossed_coins

from covid_core.evaluation import resampling

SEEDS = range(1, 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_of_images_without_fault_hardly_any_is_an_outlier(seed):
    drawn_oddities.hardly_an_outlier_without_fault(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_pictures_that_are_no_images_come_first(seed):
    drawn_oddities.pictures_that_are_no_images_first(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_exchanged_labels_are_found_five_times_as_often_as_by_chance(seed):
    drawn_oddities.exchanged_labels_found(seed)


def test_forty_patients_of_ten_images_give_no_more_false_alarms_than_the_level_says(monkeypatch):
    monkeypatch.setattr(resampling, "REPLICATES", 50)
    resampling._cached.cache_clear()
    tossed_coins.no_more_false_alarms_than_the_level_says(trials=600)
    resampling._cached.cache_clear()
