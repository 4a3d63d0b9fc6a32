"""Numbers as the language of a page writes them."""

from __future__ import annotations

from edge_ad.page.texts import Texts


def localised(texts: Texts, value: float, digits: int = 4) -> str:
    """Return a number with so many significant digits, without an exponent where it is readable."""
    text = f"{value:.{digits}g}"
    if "e" in text and 1e-6 < abs(value) < 1e9:
        text = f"{float(text):f}".rstrip("0").rstrip(".")
    return text.replace(".", texts("decimal_point"))


def grouped(texts: Texts, value: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{value:,}".replace(",", texts("thousands"))


def percent(texts: Texts, share: float | None) -> str:
    """Return a share in percent, with enough digits to tell small ones from none."""
    if share is None:
        return "-"
    digits = 1 if share >= 0.1 else 2 if share >= 0.001 or not share else 4
    return f"{share:.{digits}%}".replace(".", texts("decimal_point")).replace("%", "\u202f%")
