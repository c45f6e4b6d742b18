"""The page in a real browser: everything that it offers, by keyboard too, and without barriers.

With RECSYS_SCREENSHOTS naming a folder, the pictures of README are drawn there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.config import Config
from recsys.data.world import make_world, synthesise
from recsys.pipeline import build, read_source
from recsys.serving.app import AppArgs, create_app
from recsys.serving.security import KeyRing

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="install the dev extra (playwright)"
    )
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="as playwright")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium here; install it with `apt-get install chromium`"
)
PATIENCE_MS = 120_000


@contextmanager
def answering(folder: Path, *, keys: bool) -> Iterator[str]:
    """Let uvicorn serve a trained world in this process."""
    import uvicorn

    models, dataset = str(folder / "models"), str(folder / "dataset")
    app = create_app(AppArgs(require_keys=keys, models=models, dataset=dataset))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    waiting = threading.Event()
    while not server.started and thread.is_alive():
        waiting.wait(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world that can be heard, trained."""
    made = os.environ.get("RECSYS_DEMO")
    folder = Path(made) if made else tmp_path_factory.mktemp("heard")
    if not made:
        world = make_world(folder, seed=0, scale=0.05)
        synthesise(world, duration_s=1.5, workers=1)
        config = Config().override(["collaborative.factors=8", "collaborative.iterations=3"])
        build(read_source(world.dataset), config, LocalBackend(), Models(folder / "models"))
    return folder


@pytest.fixture(scope="module")
def address(world: Path) -> Iterator[str]:
    """Where that world answers anyone on this machine."""
    with answering(world, keys=False) as address:
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Any]:
    """A page that has drawn a Discover Weekly; any script error fails the test."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console",
        lambda line: faults.append(line.text) if "Content Security Policy" in line.text else None,
    )
    page.goto(address)
    page.wait_for_selector(".row")
    yield page
    context.close()
    assert not faults


def barriers(page: Any) -> list[str]:
    """Return the serious faults that axe-core finds."""
    page.wait_for_timeout(700)  # colours of a fading row are not those it comes to have
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:120]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def picture(page: Any, name: str) -> None:
    folder = os.environ.get("RECSYS_SCREENSHOTS")
    if folder:
        page.wait_for_timeout(900)
        page.screenshot(path=f"{folder}/{name}.png")


def rows(page: Any) -> list[str]:
    ids = "rows => rows.map(row => row.dataset.item)"
    found: list[str] = page.eval_on_selector_all(".row", ids)
    return found


def wait_for_rows(page: Any, wanted: list[str]) -> None:
    page.wait_for_function(
        "wanted => JSON.stringify([...document.querySelectorAll('.row')].map(r => r.dataset.item))"
        " === wanted",
        arg=json.dumps(wanted, separators=(",", ":")),
    )


def gone(page: Any, item_id: str) -> None:
    page.locator(f'[data-item="{item_id}"]').wait_for(state="detached")


def fits(page: Any) -> None:
    """Nothing may need sideways scrolling."""
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sheet = "document.querySelector('dialog[open]')"
    assert page.evaluate(f"{sheet} ? {sheet}.scrollWidth <= {sheet}.clientWidth : true")


def view(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_a_week_has_covers_reasons_bars_and_no_barriers(page: Any) -> None:
    assert page.locator("h1").inner_text() == "Discover Weekly"
    n = page.locator(".row").count()
    assert n > 5
    assert page.locator(".row .art svg").count() == n
    assert page.locator(".row .bar").count() == n
    assert page.locator(".row .why").count() > 0
    arts = page.eval_on_selector_all(".row .art", "all => all.map(art => art.innerHTML)")
    assert len(set(arts)) == n, "every cover is its own"
    assert barriers(page) == []
    picture(page, "page")


def test_sliders_rank_anew_at_once(page: Any) -> None:
    view(page, "Right now")
    page.wait_for_selector("#mix .row")
    before = rows(page)
    page.eval_on_selector_all(
        "input[type=range]",
        """all => all.forEach(one => {
            one.value = one.id === "weight-popularity" ? 2 : 0;
            one.dispatchEvent(new Event("input"));
        })""",
    )
    page.wait_for_function(
        "before => JSON.stringify([...document.querySelectorAll('.row')].map(r => r.dataset.item))"
        " !== before",
        arg=json.dumps(before, separators=(",", ":")),
    )
    assert rows(page) != before
    assert "Popularity 100\N{NO-BREAK SPACE}%" in page.locator(".made .bar").get_attribute("title")
    assert barriers(page) == []
    picture(page, "sliders")
    page.get_by_role("button", name="All as trained").click()
    wait_for_rows(page, before)
    assert page.locator("output[for=weight-popularity]").inner_text() == "as trained"


def test_a_slider_moves_by_keyboard(page: Any) -> None:
    view(page, "Right now")
    slider = page.get_by_label("Popularity")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("output[for=weight-popularity]").inner_text() == "1.05"


def test_like_and_skip_change_the_list(page: Any) -> None:
    view(page, "Right now")
    page.wait_for_selector("#mix .row")
    first, second = rows(page)[:2]
    page.locator(".row").nth(0).get_by_role("button", name=re.compile("^Skip")).click()
    gone(page, first)
    liked = page.locator(f'[data-item="{second}"]')
    liked.get_by_role("button", name=re.compile("^Like")).click()
    gone(page, second)
    page.reload()
    page.wait_for_selector(".row")
    view(page, "Right now")
    page.wait_for_selector("#mix .row")
    assert not {first, second} & set(rows(page)), "the server remembers"


@pytest.mark.parametrize("name", ["Discover Weekly", "Right now"])
def test_who_skips_by_keyboard_keeps_their_place(page: Any, name: str) -> None:
    page.get_by_role("switch").check()
    view(page, name)
    page.wait_for_selector("#mix .row" if name == "Right now" else ".row")
    before = rows(page)
    page.locator(".row").nth(1).get_by_role("button", name=re.compile("^Skip")).focus()
    page.keyboard.press("Enter")
    gone(page, before[1])
    held = "document.activeElement.closest('.row')?.dataset.item"
    page.wait_for_function(f"{held} === {json.dumps(before[2])}")
    assert page.evaluate("document.activeElement.dataset.deed") == "skip"


def test_a_server_that_is_away_is_told_and_asked_again(page: Any) -> None:
    page.context.set_offline(True)
    page.locator(".row h3 button").first.click()
    toast = page.locator(".toast")
    toast.wait_for()
    assert "The server does not answer" in toast.inner_text()
    view(page, "Right now")
    page.wait_for_selector(".notice")
    assert "The server does not answer" in page.locator(".notice").inner_text()
    assert barriers(page) == []
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector("#mix .row")


def test_a_private_session_leaves_the_server_as_it_was(page: Any) -> None:
    page.get_by_role("switch").check()
    view(page, "Right now")
    page.wait_for_selector("#mix .row")
    before = rows(page)
    with page.expect_response("**/v1/events") as answered:
        page.locator(".row").nth(0).get_by_role("button", name=re.compile("^Skip")).click()
    assert answered.value.json()["private"] == 1 and answered.value.json()["accepted"] == 0
    gone(page, before[0])
    page.reload()
    page.wait_for_selector(".row")
    view(page, "Right now")
    page.wait_for_selector("#mix .row")
    assert rows(page) == before


def choose_artists(page: Any) -> None:
    view(page, "New listener")
    for letter in ("a", "e"):
        page.get_by_label("Artists", exact=True).fill(letter)
        page.locator(".found").first.locator("button").first.click()
        page.wait_for_selector(".found:nth-of-type(2) button, .making .found + .found button")
    assert barriers(page) == []
    picture(page, "new-listener")
    page.get_by_role("button", name="Make my list").click()
    page.wait_for_selector("#mix .row")


def test_a_listener_is_made_of_artists(page: Any) -> None:
    choose_artists(page)
    assert "guest-" in page.locator(".lede").inner_text()
    assert page.locator(".row").count() > 5
    guest = page.url.rpartition("/")[2]
    answer = page.request.get(page.url.partition("#")[0] + f"v1/users/{guest}/recommendations")
    assert answer.status == 200


def test_a_private_listener_is_known_to_the_page_only(page: Any) -> None:
    page.get_by_role("switch").check()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    choose_artists(page)
    assert "a private listener" in page.locator(".lede").inner_text()
    assert not any("/v1/events" in url for url in sent)


def test_an_item_has_a_profile_and_neighbours_by_each_model(page: Any) -> None:
    page.locator(".row h3 button").first.click()
    sheet = page.locator("dialog[open]")
    sheet.wait_for()
    for name in ("All together", "Listening", "Words", "Sound"):
        tab = sheet.get_by_role("button", name=name, exact=True)
        tab.click()
        page.wait_for_selector("dialog .near li")
        assert tab.get_attribute("aria-pressed") == "true"
    assert sheet.get_by_role("heading", name="Why it is in the list").count() == 1
    about = page.request.get(page.url.partition("#")[0] + f"v1/items/{rows(page)[0]}").json()
    said = sheet.locator(".cloud li").all_inner_texts()
    assert said == [one["term"] for one in about["terms"]][:12] and said
    facts = dict(zip(*(sheet.locator(f".facts {tag}").all_inner_texts() for tag in ("dt", "dd"))))
    heard = about["descriptors"]
    assert facts["Key"] == f"{heard['key']} {heard['mode']}"
    assert facts["Metre"] == heard["time_signature"]
    assert facts["Tempo"] == f"{heard['tempo_bpm']:.0f} BPM"
    assert facts["Loudness"] == f"{heard['loudness_lufs']:.1f} LUFS"
    assert barriers(page) == []
    picture(page, "item")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_an_artist_has_a_table_of_terms(page: Any) -> None:
    page.locator(".row h3 button").first.click()
    page.locator("dialog .link").click()
    page.wait_for_selector("dialog .terms")
    assert page.locator("dialog .terms tbody tr").count() > 3
    scores = page.locator("dialog .terms").first.locator("td:last-child").all_inner_texts()
    numbers = [float(text) for text in scores]
    assert numbers == sorted(numbers, reverse=True)
    assert barriers(page) == []
    picture(page, "artist")
    page.set_viewport_size({"width": 320, "height": 640})
    fits(page)


def test_a_radio_goes_on_from_an_item_and_from_an_artist(page: Any) -> None:
    for opened in (False, True):
        page.locator(".row h3 button").first.click()
        if opened:
            page.locator("dialog .link").click()
            page.wait_for_selector("dialog .terms")
        with page.expect_response("**/v1/playlists") as answered:
            page.locator("dialog").get_by_role("button", name=re.compile("^Radio")).click()
        page.wait_for_selector("h1:text-is('Radio')")
        listed = [one["item_id"] for one in answered.value.json()["items"]]
        assert listed and rows(page) == listed
    assert barriers(page) == []
    picture(page, "radio")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as M3U").click()
    assert download.value.suggested_filename == "radio.m3u"


def test_a_clip_plays(page: Any) -> None:
    for place in range(page.locator(".row").count()):
        with page.expect_response("**/audio") as answered:
            page.locator(".row").nth(place).get_by_role("button", name=re.compile("^Play")).click()
        if answered.value.status == 200:
            break
    assert answered.value.headers["content-type"] == "audio/flac"
    page.wait_for_function("() => document.querySelector('#audio').duration > 1")
    assert page.locator("#player").is_visible()
    assert page.locator("#playing").inner_text()
    held = page.locator(".row").nth(place).locator("[data-plays]")
    page.wait_for_selector(".row [data-plays].on")
    assert re.match("Pause", page.locator(".row .on").get_attribute("aria-label"))
    page.get_by_role("button", name="Close the player").click()
    page.locator("#player").wait_for(state="hidden")
    page.wait_for_selector(".row [data-plays].on", state="detached")
    assert re.match("Play", held.get_attribute("aria-label"))
    assert held.evaluate("node => node === document.activeElement")


def test_a_key_is_asked_for_and_opens_the_page(chromium: Any, world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "models", tmp_path / "models")
    (tmp_path / "dataset").symlink_to(world / "dataset")
    (tmp_path / "audio").symlink_to(world / "audio")
    key = KeyRing(Models(tmp_path / "models").folder).create("page", ["read"])
    context = chromium.new_context(viewport={"width": 375, "height": 740})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    with answering(tmp_path, keys=True) as address:
        page.goto(address)
        for given in ("recsys_nonsense", key):
            page.get_by_label("API key").fill(given)
            assert barriers(page) == []
            with page.expect_response("**/v1/users?*"):
                page.get_by_role("button", name="Use it").click()
        page.wait_for_selector(".row")
        with page.expect_response("**/audio") as answered:
            page.get_by_role("button", name=re.compile("^Play")).first.click()
        assert answered.value.status in (200, 404), "a clip is asked for with the key"
        page.get_by_role("button", name=re.compile("^Like")).first.click()
        page.locator(".toast", has_text="this key has not the scope write").wait_for()
        context.close()


def test_what_cannot_be_heard_is_told(page: Any) -> None:
    page.evaluate("() => { play('no such item', 'Nothing', null); }")
    page.wait_for_selector(".toast")
    assert page.locator(".toast").inner_text() == "There is no recording of this one"
    assert page.locator("#player").is_hidden()
    assert barriers(page) == []


@pytest.mark.parametrize("size", [(1200, 800), (375, 740)])
def test_the_player_leaves_the_map_in_sight(page: Any, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    view(page, "Map")
    canvas = page.locator("canvas")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".chosen .near li")
    page.keyboard.press("Enter")
    page.locator("#player").wait_for()
    page.wait_for_function(
        """() => document.querySelector('canvas').getBoundingClientRect().bottom
            <= document.querySelector('#player').getBoundingClientRect().top"""
    )
    assert canvas.bounding_box()["height"] > 200
    picture(page, f"map-{size[0]}")


def test_the_map_zooms_and_is_walked(page: Any) -> None:
    view(page, "Map")
    canvas = page.locator("canvas")
    canvas.wait_for()
    assert page.locator(".scenes li").count() >= 2
    page.get_by_role("button", name="Zoom in").click()
    assert float(canvas.get_attribute("data-zoom")) > 1
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".notice .near li")
    first = page.locator(".notice h2").inner_text()
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
    page.wait_for_selector(".notice .near li")
    page.keyboard.press("-")
    assert first
    assert barriers(page) == []
    box = canvas.bounding_box()
    with page.expect_response("**/audio"):  # a click on any dot plays it
        page.evaluate(
            """() => {
                const canvas = document.querySelector('canvas');
                canvas.focus();
            }"""
        )
        page.keyboard.press("Enter")
    assert box["width"] > 300
    picture(page, "map")


def spots_of(page: Any) -> list[dict[str, Any]]:
    """Open the map and return where each item is drawn."""
    view(page, "Map")
    page.locator("canvas").wait_for()
    found: list[dict[str, Any]] = page.evaluate(
        """async () => {
            const chart = await (await fetch('/v1/map')).json();
            const canvas = document.querySelector('canvas');
            const side = Math.min(canvas.clientWidth, canvas.clientHeight) / 2.15;
            const [x, y] = [canvas.clientWidth / 2, canvas.clientHeight / 2];
            return chart.items.map(one => (
                {title: one.title, x: x + one.x * side, y: y + one.y * side}));
        }"""
    )
    return found


def test_the_map_follows_wheel_and_hand(page: Any) -> None:
    spots = spots_of(page)
    canvas, tip = page.locator("canvas"), page.locator(".tip")
    canvas.hover(position={"x": spots[0]["x"], "y": spots[0]["y"]})
    tip.wait_for()
    assert any(tip.inner_text().startswith(spot["title"]) for spot in spots)
    page.mouse.wheel(0, -100)
    page.wait_for_function("document.querySelector('canvas').dataset.zoom === '1.20'")
    before = canvas.evaluate("node => node.toDataURL()")
    box = canvas.bounding_box()
    page.mouse.down()
    page.mouse.move(box["x"] + spots[0]["x"] + 60, box["y"] + spots[0]["y"] + 40, steps=4)
    page.mouse.up()
    assert canvas.evaluate("node => node.toDataURL()") != before
    assert page.locator("#player").is_hidden(), "moving the map plays nothing"


def test_two_fingers_zoom_the_map(chromium: Any, address: str) -> None:
    context = chromium.new_context(viewport={"width": 375, "height": 740}, has_touch=True)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(".row")
    spots_of(page)
    canvas, fingers = page.locator("canvas"), context.new_cdp_session(page)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def touch(kind: str, *far: float) -> None:
        points = [
            {"x": x + side * d, "y": y, "id": n} for d in far for n, side in ((1, 1), (2, -1))
        ]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 20)
    for far in (30, 45, 60):
        touch("touchMove", far)
    touch("touchEnd")
    page.wait_for_function("Number(document.querySelector('canvas').dataset.zoom) > 2")
    assert page.evaluate("window.visualViewport.scale") == 1, "the page itself stays as it was"
    assert page.locator("#player").is_hidden(), "zooming the map plays nothing"
    context.close()


def test_a_click_on_the_map_plays_and_shows_neighbours(page: Any) -> None:
    spots = spots_of(page)
    with page.expect_response("**/audio"):
        page.locator("canvas").click(position={"x": spots[0]["x"], "y": spots[0]["y"]})
    page.wait_for_selector(".notice .near li")
    assert page.locator(".notice h2").inner_text() in {spot["title"] for spot in spots}


@pytest.mark.parametrize(("label", "start"), [("M3U", "#EXTM3U"), ("JSPF", '{"playlist"')])
def test_a_week_is_saved(page: Any, label: str, start: str) -> None:
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Save as {label}").click()
    assert re.fullmatch(
        rf"discover-weekly-\d{{4}}-W\d\d\.{label.lower()}", download.value.suggested_filename
    )
    assert Path(download.value.path()).read_text(encoding="utf-8").startswith(start)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light_on_a_phone(chromium: Any, address: str, scheme: str) -> None:
    context = chromium.new_context(
        viewport={"width": 375, "height": 740}, color_scheme=scheme, has_touch=True
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(".row")
    field = page.get_by_label("Listener", exact=True)
    assert field.evaluate("node => node.scrollWidth <= node.clientWidth"), "an id is read whole"
    assert field.bounding_box()["width"] > 160
    fits(page)
    assert barriers(page) == []
    picture(page, f"phone-{scheme}")
    page.locator(".row h3 button").first.click()
    page.wait_for_selector("dialog .near li")
    fits(page)
    assert barriers(page) == []
    page.keyboard.press("Escape")
    for name, part in (("Right now", "#mix .row"), ("New listener", "#liked"), ("Map", "canvas")):
        view(page, name)
        page.wait_for_selector(part)
        fits(page)
        assert barriers(page) == []
    page.goto(address + "/docs")
    page.wait_for_selector("details")
    assert barriers(page) == []
    context.close()


def test_the_keyboard_reaches_a_listener(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.get_by_label("Listener").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("nobody-like-this")
    page.keyboard.press("Enter")
    page.wait_for_selector(".notice")
    assert "Unknown id" in page.locator(".notice h2").inner_text()
    assert "Unknown id" in page.locator("[role=status]").first.inner_text()
