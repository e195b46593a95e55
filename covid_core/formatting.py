"""One way to write each kind of number, used by every page, report and command."""

import math
import re
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

LARGE = 0.1  # from this p on two decimals are enough
MINUS = "\N{MINUS SIGN}"
FIGURES = 12  # significant ones: what is beyond them is the error of binary fractions


def decimals(value: float, digits: int) -> str:
    """A number with so many decimals, halves away from zero as by hand: 81.25 is ``81.3``, and not ``81.2``.

    Python rounds halves to even, browsers up: all that people read goes through here. Thousands get
    separators, negative numbers a minus sign, which is no hyphen.
    """
    if not math.isfinite(value):
        return f"{value}"
    rounded = Decimal(f"{value:.{FIGURES}g}").quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{rounded + 0:,f}".replace("-", MINUS)  # no minus before a zero


def with_hyphens(text: str) -> str:
    """The same with a hyphen before negative numbers, for files that programs read."""
    return re.sub(rf"(?<!\w){MINUS}(?=\d)", "-", text)


class Written(float):
    """A number in a template: ``{score:.1%}`` and ``{score:.0f}`` of it are rounded as everything else is."""

    def __format__(self, form: str) -> str:
        digits = int(form[1:-1])
        return share(float(self), digits) if form[-1] == "%" else decimals(float(self), digits)


def apart(one: float, other: float, digits: int) -> tuple[str, str]:
    """A number and its limit, with as many more decimals as it takes to tell them apart, up to two."""
    more = next((n for n in (digits, digits + 1) if decimals(one, n) != decimals(other, n)), digits + 2)
    return decimals(one, more), decimals(other, more)


def as_read(value: float, digits: int = 1) -> float:
    """A number for a table that the browser rounds: itself, or the rounded one where a browser has another rule."""
    read = float(with_hyphens(decimals(value, digits)).replace(",", ""))
    return value if float(f"{value:.{digits}f}") == read else read


def share(value: float, digits: int = 1) -> str:
    """A share in [0, 1] as per cent: ``90.4 %``; undefined is a dash."""
    return "–" if value is None or math.isnan(value) else f"{decimals(100 * value, digits)} %"


def probability(value: float) -> str:
    """A probability or score: ``62.1 %``. It never reads as certain: ``over 99.9 %``, ``under 0.1 %``."""
    if value > 0.9995:
        return "over 99.9 %"
    return "under 0.1 %" if value < 0.0005 else share(value)


def bounds(low: float, high: float) -> str:
    """The bounds of an interval of shares, in per cent: ``[87.8, 92.5]``; undefined is a dash."""
    return "–" if math.isnan(low) else f"[{decimals(100 * low, 1)}, {decimals(100 * high, 1)}]"


def interval(value: float, low: float, high: float) -> str:
    """A share with its confidence interval where it has one: ``90.4 % [87.8, 92.5]``, ``33.3 %``."""
    if math.isnan(value) or math.isnan(low):
        return share(value)
    return f"{share(value)} {bounds(low, high)}"


def number(value: float, low: float = math.nan, high: float = math.nan) -> str:
    """A measure that is no share, with its interval where it has one: ``0.312``, ``0.312 [0.278, 0.351]``."""
    if math.isnan(value):
        return "–"
    return decimals(value, 3) if math.isnan(low) else f"{decimals(value, 3)} [{decimals(low, 3)}, {decimals(high, 3)}]"


def in_full(value: float) -> str:
    """A small number such as a learning rate without an exponent: ``0.00001``."""
    return f"{Decimal(f'{value:.{FIGURES}g}'):f}"


def points(value: float, low: float = math.nan, high: float = math.nan) -> str:
    """A difference of two shares in percentage points: ``2.1 points``, ``2.1 points [0.4, 3.9]``."""
    within = "" if math.isnan(low) else f" {bounds(low, high)}"
    return "–" if math.isnan(value) else f"{decimals(100 * value, 1)} points{within}"


def p_value(p: float) -> str:
    """A p value by itself, for a table: ``0.42``, ``0.034``, ``< 0.001``; undefined is a dash."""
    if math.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else decimals(p, 3 if p < LARGE else 2)


def p_in_words(p: float) -> str:
    """A p value in a sentence: ``p = 0.034``, ``p < 0.001``."""
    written = p_value(p)
    return f"p {written}" if written.startswith("<") else f"p = {written}"


def milliseconds(value: float | None) -> str:
    """A short time: ``3.7 ms``; from a second on as ``duration`` writes it."""
    if value is None or math.isnan(value) or value >= 999.5:
        return duration(None if value is None else value / 1000)
    return f"{decimals(value, 1 if value < 99.95 else 0)} ms"


def count(value: float) -> str:
    """A whole number with thousands separators: ``21,165``."""
    return decimals(value, 0)


def plural(value: int, word: str, words: str | None = None) -> str:
    """A count with its noun: ``1 image``, ``2,000 images``."""
    return f"{count(value)} {word if value == 1 else words or word + 's'}"


def duration(seconds: float | None) -> str:
    """A time span for people: ``0.4 s``, ``12 s``, ``2 min 10 s``, ``3 h 05 min``."""
    if seconds is None or math.isnan(seconds):
        return "–"
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{decimals(seconds, 1)} s"
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def roughly(seconds: float) -> str:
    """A time span that is only expected, no finer than it is known: ``5 s``, ``20 s``, ``1 min 30 s``, ``12 min``."""
    step = 5 if seconds < 60 else 30 if seconds < 300 else 60
    return duration(max(step, step * round(seconds / step))).removesuffix(" 00 s").replace("5.0 s", "5 s")


def moment(seconds: float) -> str:
    """A time since 1970 as a date and a time of day on this machine; the year only where it is not this one."""
    if math.isnan(seconds):
        return "–"
    then = datetime.fromtimestamp(seconds)
    return f"{then:%d %b, %H:%M}" if then.year == datetime.now().year else f"{then:%d %b %Y, %H:%M}"


def day(seconds: float) -> str:
    """The day of a time since 1970 on this machine, with its year."""
    return f"{datetime.fromtimestamp(seconds):%d %B %Y}"


def file_size(n_bytes: float) -> str:
    """Bytes in the largest fitting decimal unit: ``9.4 MB``."""
    for unit in ("B", "kB", "MB"):
        if n_bytes < 999.95:
            return f"{decimals(n_bytes, 0 if unit == 'B' else 1)} {unit}"
        n_bytes /= 1000
    return f"{decimals(n_bytes, 1)} GB"
