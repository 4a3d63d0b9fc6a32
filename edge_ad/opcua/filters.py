"""Check what a client asks to be notified of."""

from __future__ import annotations

import math
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError

from edge_ad.opcua import limits


def check_filter(attribute: int, given: Any) -> None:
    """Raise ServiceError for a filter of the wrong kind, or one that takes long to evaluate.

    asyncua evaluates the condition of an event filter as a tree, in which an element may refer to
    itself.
    """
    if attribute == ua.AttributeIds.EventNotifier:
        if not isinstance(given, ua.EventFilter):
            raise ServiceError(ua.StatusCodes.BadMonitoredItemFilterUnsupported)
        _check_condition(given.WhereClause.Elements)
    elif _is_given(given) and not isinstance(given, ua.DataChangeFilter):
        raise ServiceError(ua.StatusCodes.BadMonitoredItemFilterUnsupported)


def _is_given(given: Any) -> bool:
    none = isinstance(given, ua.ExtensionObject) and not given.TypeId.Identifier
    return given is not None and not none


def within(value: float, lowest: float, highest: float) -> float:
    """Return the nearest value within limits; the highest for what is not a number."""
    return highest if math.isnan(value) else min(max(value, lowest), highest)


def _check_condition(elements: list[ua.ContentFilterElement]) -> None:
    references = [
        (position, operand.Index)
        for position, element in enumerate(elements)
        for operand in element.FilterOperands
        if isinstance(operand, ua.ElementOperand)
    ]
    too_many = len(elements) > limits.FILTER_ELEMENTS or len(references) > limits.FILTER_REFERENCES
    if too_many or any(index <= position for position, index in references):
        raise ServiceError(ua.StatusCodes.BadEventFilterInvalid)
