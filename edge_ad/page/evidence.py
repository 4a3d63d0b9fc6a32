"""The images of events: a whole one, one of its two panels, or a small one for lists."""

from __future__ import annotations

from edge_ad.images import encode_image, read_image, scaled
from edge_ad.outlet.drawing import panels
from edge_ad.page.view import Answer, Content, NotThere, PageRequest
from edge_ad.store.labelled import inside
from edge_ad.store.reading import Record
from edge_ad.store.search import find_by_numbers

_SMALL = (160, 120)  # pixels, of an image in a list
_QUALITY = 92


def event_image(request: PageRequest) -> Answer:
    """Return an event's image: `whole` as it was written, its `left` or `right` panel, or `small`.

    The left panel is the frame with its regions, the right one the same under the anomaly map.
    """
    event = _event(request)
    path = inside(request.folder, str(event.get("evidence", "")))
    panel = request.path["panel"]
    if path is None:
        raise NotThere(request.texts("event_no_image"))
    if panel == "whole" or (event["type"] == "drift" and panel != "small"):
        return Content(path, "image/jpeg")
    image = read_image(path, 8)
    left, right = (image, image) if event["type"] == "drift" else panels(image)
    if panel == "small":
        chosen = scaled(left, min(_SMALL[0] / left.shape[1], _SMALL[1] / left.shape[0], 1.0))
    else:
        chosen = left if panel == "left" else right
    return Content(encode_image(chosen, ".jpg", _QUALITY), "image/jpeg")


def _event(request: PageRequest) -> Record:
    events = find_by_numbers(request.folder, [int(request.path["seq"])])
    if not events:
        raise NotThere(request.texts("event_gone"))
    return events[0]
