"""Numbers as the language of a page writes them."""

from __future__ import annotations

from edge_ad.page.texts import Texts


def localised(texts: Texts, value: float, digits: int = 4) -> str:
    """Return a number with this many digits, without an exponent where it is readable."""
    text = f"{value:.{digits}g}"
    if "e" in text and 1e-6 < abs(value) < 1e9:
        text = f"{float(text):f}".rstrip("0").rstrip(".")
    return text.replace(".", texts("decimal_point"))


def grouped(texts: Texts, value: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{value:,}".replace(",", texts("thousands"))


def percent(texts: Texts, share: float | None) -> str:
    """Return a share in percent, to three digits; "-" where there is none."""
    if share is None:
        return "-"
    text = localised(texts, 100 * share, 3)
    if text == "100" and share < 1:
        text = localised(texts, 99.9)
    return f"{text}\u202f%"
