"""The list of events, one event with its images, notes, and data sets of what was marked."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_ad.images import write_image
from edge_ad.outlet.drawing import draw_evidence, panels
from edge_ad.page.events import times
from edge_ad.page.person import Person, Role
from edge_ad.page.texts import read_texts
from edge_ad.preprocess import AnomalyMap
from edge_ad.store.event import EventType, StoreEvent, insert
from edge_ad.store.reading import EventFilter, Record, read_events
from edge_ad.store.samples import KeptSample, add_sample
from tests.page.served import ServedPage, served
from tests.store.weeks import Writer, at, writing

XSS = "<img src=x onerror=alert(1)>\"'"
IMAGE = np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)


def keep(line: Writer, part: int) -> None:
    """Keep a part's evidence image, and its image as it came."""
    anomaly_map = AnomalyMap(np.ones((24, 32), np.float32), (0, 0), (10, 10))
    drawn = draw_evidence(IMAGE, anomaly_map, (), 0.5, ("one", "two"))
    write_image(line.folder / f"evidence/part-{part:08d}.jpg", drawn)
    file = f"samples/part-{part:08d}-reject.png"
    write_image(line.folder / file, IMAGE)
    sample = KeptSample(part, "top", at("06:00"), "reject", 0.9, 0.5, file, 100)
    add_sample(line.connection, sample, line.folder, 1 << 30)


def fill(folder: Path) -> None:
    """Write 60 rejects, of which the first three have images, and an alarm that is open."""
    with writing(folder) as line:
        for number in range(60):
            line.reject(f"06:{number:02d}", 1.15, "top" if number % 2 else XSS, file=f"{XSS}.png")
        line.alarm("06:59:30", part=60, peak_part=60, camera=XSS)
        for part in (1, 2, 3):
            keep(line, part)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages") / "line"
    fill(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[ServedPage]:
    with served(folder) as page:
        yield page


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[tuple[Path, ServedPage]]:
    fill(tmp_path / "line")
    with served(tmp_path / "line") as page:
        yield tmp_path / "line", page


def listed(page: ServedPage, query: str = "") -> list[int]:
    text = page.get(f"/events{query}").text
    return [int(seq) for seq in re.findall(r'<a href="/events/(\d+)[^"]*"><b>', text)]


def notes(folder: Path) -> list[Record]:
    return list(read_events(folder, EventFilter(types=("ack", "mark"))))


def test_events_are_listed_a_page_at_a_time(page: ServedPage) -> None:
    first = listed(page)
    assert first == list(range(61, 11, -1))
    text = page.get("/events").text
    assert "61 events" in text and "2.3 times the threshold" in text
    (older,) = re.findall(r'rel="next" href="([^"]+)"', text)
    assert listed(page, older.removeprefix("/events")) == list(range(11, 0, -1))


def test_filters_stay_in_the_form_and_in_every_link(page: ServedPage) -> None:
    query = "?what=reject&camera=top&from=2026-11-28T06:10Z&size=3"
    text = page.get(f"/events{query}").text
    assert '<option value="reject" selected>' in text and 'value="2026-11-28T06:10Z"' in text
    seqs = listed(page, query)
    assert seqs == list(range(60, 10, -2))
    assert f"/events/{seqs[0]}?what=reject&amp;camera=top" in text
    assert listed(page, "?what=defect") == [61] and listed(page, "?part=7") == [7]


@pytest.mark.parametrize(
    "query", ["?what=x", "?age=9y", "?noted=maybe", "?size=-1", "?from=yesterday", "?before=x"]
)
def test_a_filter_that_is_none_is_refused(page: ServedPage, query: str) -> None:
    answer = page.get(f"/events{query}")
    assert answer.status == 400 and "xpected" in answer.text


def test_names_in_events_are_text(page: ServedPage) -> None:
    for address in ("/events", "/events/1", "/events/61", "/dataset"):
        answer = page.get(address)
        assert answer.status == 200 and "<img src=x" not in answer.text
    assert "&lt;img src=x" in page.get("/events/1").text


def test_one_event_has_its_images_and_neighbours(page: ServedPage) -> None:
    text = page.get("/events/2?what=reject").text
    assert 'src="/events/2/left"' in text and 'src="/events/2/right"' in text
    assert 'rel="prev" href="/events/3?what=reject"' in text
    assert 'rel="next" href="/events/1?what=reject"' in text
    assert "No image of it is kept." in page.get("/events/40").text
    assert "still open" in page.get("/events/61").text


def test_images_are_served_by_number_alone(page: ServedPage) -> None:
    whole = page.get("/events/1/whole")
    assert whole.headers["Content-Type"] == "image/jpeg"
    for panel in ("left", "right", "small"):
        assert page.get(f"/events/1/{panel}").status == 200
    assert page.get("/events/40/left").status == 404
    assert page.get("/events/999/left").status == 404


@pytest.mark.parametrize(
    "address",
    [
        "/events/1/../../line.db", "/events/1/..%2f..%2fline.db", "/events/..%2fline.db/whole",
        "/events/1/left/../../../etc/passwd", "/static/../line.db", "/static/..%2f..%2fline.db",
        "/static/%2e%2e/line.db", "//etc/passwd", "/events/0x1/whole", "/events/-1/whole",
    ],
)  # fmt: skip
def test_no_address_leads_to_another_file(page: ServedPage, address: str) -> None:
    assert page.get(address).status == 404


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/passwd", "link.jpg"])
def test_no_event_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "line"
    with writing(folder) as line:
        event = StoreEvent(EventType.REJECT, camera="top", part=1, evidence=name)
        seq = insert(line.connection, event)
    write_image(tmp_path / "secret.jpg", IMAGE)
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    with served(folder) as page:
        assert [page.get(f"/events/{seq}/{panel}").status for panel in ("whole", "left")] == [
            404
        ] * 2


def test_people_mark_and_acknowledge_as_with_edge_ad_events(
    fresh: tuple[Path, ServedPage],
) -> None:
    folder, page = fresh
    marked = {"e1": "on", "e2": "on", "do": "false-alarm", "note": f"dust {XSS}"}
    assert page.post("/events/notes", marked).json == {"done": "false-alarm", "events": 2}
    assert page.post("/events/notes", {"e61": "on", "do": "ack"}).status == 200
    said = [(note["type"], note.get("step"), note["refers"], note["who"]) for note in notes(folder)]
    assert said == [
        ("mark", "false-alarm", 1, "anna"),
        ("mark", "false-alarm", 2, "anna"),
        ("ack", None, 61, "anna"),
    ]
    text = page.get("/events/1").text
    assert "dust &lt;img" in text and "false alarm" in text
    assert listed(page, "?noted=false-alarm") == [2, 1]


@pytest.mark.parametrize(
    "body",
    [{}, {"do": "real"}, {"e1": "on", "do": "burn"}, {"e1": "on", "e999": "on", "do": "real"},
     {"e1": "on"}, {"e1": "on", "do": ["real"]}, {"e99999999999999999999": "on", "do": "real"}],
)  # fmt: skip
def test_a_note_that_is_none_changes_nothing(
    folder: Path, page: ServedPage, body: dict[str, object]
) -> None:
    answer = page.post("/events/notes", body)
    assert answer.status == 400 and answer.json["error"]
    assert notes(folder) == []


def test_who_only_looks_gets_no_button_and_no_data(folder: Path) -> None:
    with served(folder, local=Person("vic", Role.VIEWER)) as page:
        assert page.post("/events/notes", {"e1": "on", "do": "real"}).status == 403
        assert page.get("/dataset.zip").status == 403
        assert "<button name" not in page.get("/events").text + page.get("/events/1").text


def test_marked_parts_are_downloaded_as_a_data_set(fresh: tuple[Path, ServedPage]) -> None:
    _, page = fresh
    page.post("/events/notes", {"e1": "on", "e2": "on", "do": "false-alarm"})
    page.post("/events/notes", {"e3": "on", "e40": "on", "do": "real"})
    text = page.get("/dataset").text
    assert "2 normal images" in text and "1 anomalous image" in text
    assert "no image of it as the camera took it was kept" in text.lower()
    answer = page.get("/dataset.zip?normal=train&what=reject")
    assert answer.headers["Content-Type"] == "application/zip"
    assert re.search(r"line-\d{4}-\d\d-\d\d-marked.zip", answer.headers["Content-Disposition"])
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        folders = [name.rpartition("/")[0] for name in archive.namelist()]
    assert folders == ["train/good", "train/good", "test/defect", "", "train/good", "", ""]
    assert page.get("/dataset.zip?camera=top&noted=real").status == 404
    text = page.get("/dataset?seq=1,3,40,41").text  # chosen one by one
    assert "1 normal images" in text and "1 anomalous images" in text
    assert "Not marked as a false alarm or real." in text
    assert 'href="/dataset.zip?seq=1%2C3%2C40%2C41"' in text
    assert page.get("/dataset.zip?seq=1%2C3").status == 200
    for wrong in ("x", "1,", "-1", "1%2C" * 300 + "1"):
        assert page.get(f"/dataset?seq={wrong}").status == 400


@pytest.mark.parametrize(
    ("score", "threshold", "words"),
    [
        (1.15, 0.5, "2.3 times the threshold"),
        (0.6355, 0.5, "1.27 times the threshold"),
        (0.50001, 0.5, "1.00002 times the threshold"),
        (61.0, 0.5, "120 times the threshold"),
        (-0.2, -0.3, "-0.2, threshold -0.3"),
        (None, 0.5, ""),
    ],
)
def test_a_score_is_said_in_thresholds(score: float | None, threshold: float, words: str) -> None:
    event = {"score": score, "threshold": threshold} if score is not None else {}
    assert times(read_texts("en"), event) == words


def test_panels_are_the_halves_of_an_evidence_image() -> None:
    drawn = draw_evidence(
        IMAGE, AnomalyMap(np.zeros((24, 32), np.float32), (0, 0), (10, 10)), (), 0.5, ("a", "b")
    )
    left, right = panels(drawn)
    assert left.shape == right.shape == IMAGE.shape
    assert np.array_equal(left, IMAGE)
    tiny = np.zeros((20, 1, 3), np.uint8)
    assert panels(tiny) == (tiny, tiny)
