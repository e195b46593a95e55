"""One way to write each kind of number."""

import math
from datetime import datetime

import pytest

from covid_core import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9038, "90.4 %"), (0, "0.0 %"), (1, "100.0 %"), (math.nan, "–"), (None, "–")],
)
def test_a_share_is_per_cent_with_one_decimal(value, text):
    assert formatting.share(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.6289, "62.9 %"), (0.99996, "over 99.9 %"), (1, "over 99.9 %"), (0.0001, "under 0.1 %"), (math.nan, "–")],
)
def test_a_probability_never_reads_as_certain(value, text):
    assert formatting.probability(value) == text


def test_an_interval_stands_in_brackets():
    assert formatting.interval(0.904, 0.878, 0.9251) == "90.4 % [87.8, 92.5]"


def test_a_share_without_bounds_stands_alone():
    assert formatting.interval(1 / 3, math.nan, math.nan) == "33.3 %"


def test_an_undefined_share_has_no_interval():
    assert formatting.interval(math.nan, math.nan, math.nan) == "–"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0.021,), "2.1 points"),
        ((0.021, 0.004, 0.039), "2.1 points [0.4, 3.9]"),
        ((-0.021,), "−2.1 points"),
        ((math.nan,), "–"),
    ],
)
def test_a_difference_is_in_points(arguments, text):
    assert formatting.points(*arguments) == text


def test_counts_have_thousands_separators():
    assert formatting.count(21165) == "21,165"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [((1, "image"), "1 image"), ((2000, "image"), "2,000 images"), ((0, "class", "classes"), "0 classes")],
)
def test_a_noun_agrees_with_its_count(arguments, text):
    assert formatting.plural(*arguments) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (-3, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (130, "2 min 10 s"),
        (3599.6, "1 h 00 min"),
        (11100, "3 h 05 min"),
    ],
)
def test_a_duration_never_shows_sixty_of_a_unit(seconds, text):
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (3.72, "3.7 ms"), (99.97, "100 ms"), (999.4, "999 ms"), (999.7, "1.0 s"), (2500, "2.5 s")],
)
def test_a_short_time_turns_to_seconds_from_a_second_on(value, text):
    assert formatting.milliseconds(value) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9_400_000, "9.4 MB"), (999_960, "1.0 MB"), (2e10, "20.0 GB")],
)
def test_a_file_size_is_below_a_thousand_of_its_unit(n_bytes, text):
    assert formatting.file_size(n_bytes) == text


def test_a_moment_tells_its_year_where_it_is_not_this_one():
    now = datetime.now()
    assert formatting.moment(now.timestamp()) == f"{now:%d %b, %H:%M}"
    assert formatting.moment(datetime(2001, 2, 3, 4, 5).timestamp()) == "03 Feb 2001, 04:05"
    assert formatting.moment(math.nan) == "–"


@pytest.mark.parametrize(
    ("p", "alone", "in_words"),
    [
        (0.0, "< 0.001", "p < 0.001"),
        (0.000999, "< 0.001", "p < 0.001"),
        (0.001, "0.001", "p = 0.001"),
        (0.0344, "0.034", "p = 0.034"),
        (0.42, "0.42", "p = 0.42"),
        (1.0, "1.00", "p = 1.00"),
        (math.nan, "–", "p = –"),
    ],
)
def test_a_p_value_is_never_written_as_zero(p, alone, in_words):
    assert (formatting.p_value(p), formatting.p_in_words(p)) == (alone, in_words)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.2, "5 s"),
        (8.6, "10 s"),
        (57, "55 s"),
        (59, "1 min"),
        (101, "1 min 30 s"),
        (700, "12 min"),
        (4000, "1 h 07 min"),
    ],
)
def test_what_is_only_expected_is_told_roughly(seconds, told):
    assert formatting.roughly(seconds) == told


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (81.25, 1, "81.3"),
        (0.125, 2, "0.13"),
        (14.499999999999998, 0, "15"),
        (-0.04, 1, "0.0"),
        (-1234.5, 0, "−1,235"),
        (1234.5, 0, "1,235"),
    ],
)
def test_halves_are_rounded_away_from_zero_everywhere(value, digits, text):
    assert formatting.decimals(value, digits) == text
    assert formatting.as_read(value, digits) in (value, float(formatting.with_hyphens(text).replace(",", "")))
    assert (formatting.share(65 / 80), formatting.p_value(0.125), formatting.as_read(81.25)) == ("81.3 %", "0.13", 81.3)


@pytest.mark.parametrize(
    ("template", "value", "text"),
    [("{:.1%}", 0.8125, "81.3 %"), ("{:.2f}", 2.675, "2.68"), ("{:.0f}", 1234.5, "1,235")],
)
def test_a_number_in_a_template_is_rounded_as_everywhere_else(template, value, text):
    assert template.format(formatting.Written(value)) == text


@pytest.mark.parametrize(("pair", "texts"), [((1.5, 1.7), ("1.5", "1.7")), ((1.74, 1.66), ("1.74", "1.66"))])
def test_a_number_beyond_its_limit_never_reads_as_the_limit(pair, texts):
    assert formatting.apart(*pair, 1) == texts


@pytest.mark.parametrize(("value", "text"), [(1e-3, "0.001"), (2e-5, "0.00002"), (1e-6, "0.000001"), (1, "1")])
def test_a_learning_rate_has_no_exponent(value, text):
    assert formatting.in_full(value) == text
