"""Every request gets an answer that fits it, and the texts of the page are complete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_ad.errors import UsageError
from edge_ad.page import texts as texts_module
from edge_ad.page.person import Person, Role
from edge_ad.page.render import static_files
from edge_ad.page.routes import ROUTES, Route
from edge_ad.page.texts import best_language, languages, read_texts, text_problems
from edge_ad.page.view import Json, PageRequest
from edge_ad.strict_yaml import dump_yaml
from tests.page.served import ADMIN, ServedPage, make_store, served

ENGLISH = {"title": "Line", "live_counts": "{parts} parts this hour, {rejected} rejected"}


def broken(request: PageRequest) -> Json:
    raise RuntimeError("secret of the inside")


def wrong(request: PageRequest) -> Json:
    raise UsageError("a wrong value <b>")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPage]:
    folder = make_store(tmp_path_factory.mktemp("line"))
    more = (Route("GET", "/broken", Role.VIEWER, broken), Route("GET", "/wrong", Role.ADMIN, wrong))
    with served(folder, (*ROUTES, *more)) as page:
        yield page


def test_errors_are_pages_with_their_reason_and_nothing_of_the_inside(page: ServedPage) -> None:
    assert "There is no such page" in page.get("/nothing").text
    wrong = page.get("/wrong")
    assert (wrong.status, "a wrong value &lt;b&gt;" in wrong.text) == (400, True)
    inside = page.get("/broken")
    assert (inside.status, "secret" in inside.text) == (500, False)


def test_a_store_that_has_gone_is_an_answer_too(tmp_path: Path) -> None:
    with served(make_store(tmp_path)) as page:
        (tmp_path / "line.db").unlink()
        assert "does not run" in page.get("/").text


def test_a_browser_gets_its_language(tmp_path: Path) -> None:
    with served(make_store(tmp_path), language="") as page:
        assert '<html lang="de">' in page.get("/", Accept_Language="de-CH, en;q=0.5").text
        assert '<html lang="en">' in page.get("/", Accept_Language="fr, *;q=x").text


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de;q=0, en", "en"),
        ("en;q=0.3, de;q=0.9", "de"),
        ("fr-FR, de;q=0.1", "de"),
        (";;;,=,q", "en"),
    ],
)
def test_the_best_language_is_the_browsers_first_that_is_there(
    accepted: str, language: str
) -> None:
    assert best_language(accepted, languages()) == language


def test_the_shipped_translations_are_complete() -> None:
    assert text_problems() == []
    assert {"en", "de"} <= set(languages())


@pytest.fixture
def french(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the file of another translation, beside the English one."""
    for name in ("en.yaml", "de.yaml.orig", "README"):
        (tmp_path / name).write_text(dump_yaml(ENGLISH), "utf-8")
    monkeypatch.setattr(texts_module, "FOLDER", tmp_path)
    read_texts.cache_clear()
    yield tmp_path / "fr.yaml"
    read_texts.cache_clear()


@pytest.mark.parametrize(
    ("key", "line", "problem"),
    [
        ("title", "", "title is missing"),
        ("title", "title:", "title is not a text"),
        ("title", "title: ' '", "title is not a text"),
        ("title", "title: 5", "title is not a text"),
        ("title", "title: [a]", "title is not a text"),
        ("live_counts", "live_counts: '{parts}'", "needs {parts} {rejected}, has {parts}"),
        ("live_counts", "live_counts: '{parts} {rejetees}'", "has {parts} {rejetees}"),
        ("live_counts", "live_counts: '{parts} {rejected!r}'", "has braces that do not fit"),
        ("live_counts", "live_counts: '{parts:x} {rejected}'", "has braces that do not fit"),
        ("live_counts", "live_counts: '{parts} {rejected'", "has braces that do not fit"),
        ("live_counts", "live_counts: '{parts} {rejected.x}'", "has {parts} {rejected.x}"),
        ("live_counts", "live_counts: '{parts} {rejected} {}'", "has {} {parts} {rejected}"),
        ("more", "more: plus", "more is not a key"),
    ],
)
def test_a_text_that_a_translation_lacks_is_shown_in_english(
    key: str, line: str, problem: str, french: Path
) -> None:
    texts = {name: f"{text} (fr)" for name, text in ENGLISH.items() if name != key}
    french.write_text(dump_yaml(texts) + line, "utf-8")
    assert languages() == ("en", "fr")
    (problem_text,) = text_problems()
    assert str(french) in problem_text and problem in problem_text
    words = read_texts("fr").words
    assert words == {name: texts.get(name, text) for name, text in ENGLISH.items()}


@pytest.mark.parametrize("content", [b"a: b: c", b"a: 1\na: 2", b"\xff", b"", b"- a", b"a: {"])
def test_a_translation_that_cannot_be_read_is_left_out(content: bytes, french: Path) -> None:
    french.write_bytes(content)
    assert languages() == ("en",)
    (problem_text,) = text_problems()
    assert problem_text.startswith(f"{french} is left out: ")


def test_what_browsers_load_is_light_and_comes_from_here() -> None:
    assert sum(len(data) for data, _ in static_files().values()) < 250 << 10
    for name, (data, _) in static_files().items():
        text = data.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text and "https://" not in text, name


@pytest.mark.parametrize("text", ["-1", "1.5", "nan", "10001", "9" * 30, "", "\u0661"])
def test_numbers_of_an_address_are_checked(text: str, tmp_path: Path) -> None:
    request = PageRequest(tmp_path, ADMIN, read_texts("en"), {"n": [text or " "]})
    with pytest.raises(UsageError, match="n: expected a whole number"):
        request.count("n", 1, at_most=10_000)


@pytest.mark.parametrize("value", [None, True, "x", "1e999", "nan", [], 10**400])
def test_numbers_of_a_body_are_finite(value: object, tmp_path: Path) -> None:
    request = PageRequest(tmp_path, ADMIN, read_texts("en"), body={"n": value})
    with pytest.raises(UsageError, match="n: expected a number"):
        request.number("n")


def test_a_route_is_for_its_role_and_those_above(tmp_path: Path) -> None:
    route = Route("GET", "/wrong", Role.ADMIN, wrong)
    with served(make_store(tmp_path), (route,), local=Person("ben", Role.OPERATOR)) as page:
        assert page.get("/wrong").status == 403
