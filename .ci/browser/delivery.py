"""How events reach the collector: retries, reloads, beacons, tabs, and browsers that store nothing."""
import collections
import email.utils
import threading
import time


def _repeats(events):
    """How many of the events came more than once."""
    return sum(n > 1 for n in collections.Counter(event["id"] for event in events).values())


def _record(tab, n):
    """Records n events and returns their ids."""
    return set(tab.js(f"Array.from({{ length: {n} }}, (_, i) => reco.detail(`sku-${{i}}`))"))


def the_queue_survives_a_reload(world):
    world.collector.plan = lambda events: (503, {})
    tab = world.tab(world.shopper(), world.page(delay=10, backoff=40))
    ids = _record(tab, 25)
    requests = world.collector.wait_for_requests(3)
    pauses = [later.at - earlier.at for earlier, later in zip(requests, requests[1:])]
    assert pauses[0] >= 0.02 and pauses[1] >= 0.04, f"no growing pause between retries: {pauses}"
    tab.reload()
    assert tab.js("reco.status().queued") == 25
    world.collector.wait_for_requests(len(world.collector.requests) + 1)
    world.collector.plan = lambda events: None
    events = world.collector.wait_for_events(25)
    tab.until("reco.status().queued === 0")
    assert {event["id"] for event in events} == ids and _repeats(world.collector.accepted()) == 0
    assert [event["item"] for event in events] == [f"sku-{i}" for i in range(25)], "in the order recorded"
    assert tab.js("[reco.status().sent, reco.status().retryAt]") == [25, None]


def no_connection_is_no_loss(world):
    world.collector.plan = lambda events: 1 / 0  # The handler dies: the connection is closed without an answer.
    tab = world.tab(world.shopper(), world.page(delay=10, backoff=10))
    ids = _record(tab, 3)
    tab.until("reco.status().lastAnswer && reco.status().lastAnswer.status === 0")
    world.collector.plan = lambda events: None
    assert {event["id"] for event in world.collector.wait_for_events(3)} == ids


def retry_after_is_honoured(world):
    seconds = iter(["1", None])

    def plan(events):
        after = next(seconds, "never")
        if after == "never":
            return None
        # The second answer names a date, in whole seconds: between one and two seconds from now.
        return (429, {"Retry-After": after}) if after else (503, {"Retry-After": email.utils.formatdate(time.time() + 2, usegmt=True)})

    world.collector.plan = plan
    tab = world.tab(world.shopper(), world.page(delay=10, backoff=10))
    _record(tab, 1)
    world.collector.wait_for_requests(1)
    tab.until("reco.status().retryAt !== null")
    tab.open(world.page(delay=10, backoff=10, pageview=""))  # Leaving sends no beacon, and the next page waits, too.
    first, second, third = world.collector.wait_for_requests(3)
    assert (first.status, second.status, third.status) == (429, 503, 202)
    assert second.at - first.at >= 1, second.at - first.at
    assert third.at - second.at >= 0.9, third.at - second.at
    assert all(request.mode == "cors" for request in world.collector.requests), "a beacon disregarded Retry-After"
    assert _repeats(world.collector.wait_for_events(2)) == 0


def a_page_that_goes_away_sends_a_beacon(world):
    shopper = world.shopper()
    tab = world.tab(shopper, world.page(delay=600_000))
    ids = _record(tab, 3)
    tab.open(world.page(delay=600_000, n=2))
    (beacon,) = world.collector.wait_for_requests(1)
    assert beacon.mode == "no-cors" and beacon.content_type == "text/plain;charset=UTF-8", beacon
    assert {event["id"] for event in beacon.events} == ids
    assert tab.js("reco.status().queued") == 3, "a beacon has no answer, so they stay"
    tab.js("reco.flush()")
    assert tab.js("reco.status().queued") == 0
    assert {event["id"] for event in world.collector.accepted()} == ids, "sent again under the same ids"

    last = _record(tab, 1)
    tab.close()
    world.collector.wait_for_events(4)
    assert world.collector.requests[-1].mode == "no-cors"
    other = world.tab(shopper, world.page(delay=20))
    other.until("reco.status().queued === 0")
    assert {event["id"] for event in world.collector.accepted()} == ids | last


def a_hidden_page_sends_one_beacon(world):
    tab = world.tab(world.shopper(), world.page(delay=600_000))
    ids = _record(tab, 2)
    # Headless pages are never hidden: the page is told so.
    tab.js("""Object.defineProperty(document, "visibilityState", { value: "hidden" });
        for (let i = 0; i < 3; i++) document.dispatchEvent(new Event("visibilitychange"))""")
    (beacon,) = world.collector.wait_for_requests(1)
    assert beacon.mode == "no-cors" and {event["id"] for event in beacon.events} == ids
    tab.js("reco.flush()")
    assert [request.mode for request in world.collector.requests] == ["no-cors", "cors"]


def a_second_tab_waits_for_its_turn(world):
    _second_tab(world, world.page, "navigator.locks.query().then(({ pending }) => pending.length === 1)")


def a_second_tab_waits_without_locks_too(world):
    site = world.site.url.replace("127.0.0.1", "shop.test")
    # The second tab has come back without sending; it tries again when the lease has run out.
    _second_tab(world, lambda **attributes: world.page(**attributes).replace(world.site.url, site), "!waiting")


def _second_tab(world, page, waits):
    """One tab's request is held until the other one, which wants to send the same queue, `waits`."""
    shopper = world.shopper()
    go_on, held = threading.Event(), threading.Event()

    def plan(events):
        held.set()
        go_on.wait(30)

    world.collector.plan = plan
    first, second = (world.tab(shopper, page(delay=600_000, timeout=5000, n=n)) for n in range(2))
    try:
        ids = _record(first, 5)
        first.js("reco.flush(), null")
        assert held.wait(30)
        second.until("reco.status().queued === 5 && (!!navigator.locks || localStorage.getItem('reco.lease') !== null)")
        second.js("waiting = true, reco.flush().then(() => { waiting = false; }), null")
        second.until(waits)
    finally:
        go_on.set()
    second.until("!waiting && reco.status().queued === 0")
    events = world.collector.wait_for_events(5)
    assert {event["id"] for event in events} == ids and world.collector.most_at_once == 1


def two_tabs_share_one_queue(world):
    _two_tabs(world, world.page)
    assert world.collector.most_at_once == 1, "a lock lets one tab send at a time"
    repeats = _repeats(world.collector.accepted())
    assert repeats <= 24, f"{repeats} of 96 events came twice"  # None, but for a machine that is slow to tell tabs of writes.


def two_tabs_without_locks_lose_nothing(world):
    site = world.site.url.replace("127.0.0.1", "shop.test")
    _two_tabs(world, lambda **attributes: world.page(**attributes).replace(world.site.url, site))


def _two_tabs(world, page):
    shopper = world.shopper()
    world.collector.plan = lambda events: (503, {})
    # Several batches, so that the tabs meet; not many, since browsers slow the timers of a tab in the background.
    tabs = [world.tab(shopper, page(delay=5, backoff=20, max_batch=16, max_backoff=100, n=n)) for n in range(2)]
    ids = _record(tabs[0], 8)
    tabs[1].until("reco.status().client !== null")  # A tab sees what another has written a little later.
    ids |= _record(tabs[1], 8)
    for _ in range(4):
        for tab in tabs:
            ids |= _record(tab, 8)
    world.collector.wait_for_requests(2)
    world.collector.plan = lambda events: None
    for tab in tabs:
        ids |= _record(tab, 8)
    events = world.collector.wait_for_events(len(ids))
    assert {event["id"] for event in events} == ids and len(ids) == 96
    for tab in tabs:
        tab.until("reco.status().queued === 0")
    assert [len({event[name] for event in events}) for name in ("client", "session")] == [1, 1]


def a_tab_that_died_is_no_loss(world):
    shopper = world.shopper()
    world.collector.plan = lambda events: (503, {})
    tab = world.tab(shopper, world.page(delay=10))
    ids = _record(tab, 5)
    world.collector.wait_for_requests(1)
    world.browser.call("Target.closeTarget", targetId=tab.target)  # At once: the page is not asked.
    world.collector.plan = lambda events: None
    other = world.tab(shopper, world.page(delay=10))
    other.until("reco.status().queued === 0")
    assert {event["id"] for event in world.collector.accepted()} == ids


def what_is_refused_is_dropped_and_counted(world):
    world.collector.plan = lambda events: (400, {})
    tab = world.tab(world.shopper(), world.page(delay=10))
    _record(tab, 3)
    tab.until("reco.status().queued === 0")
    assert tab.js("reco.status().rejected") == 3
    assert any("refused 3 events with status 400" in line for line in tab.console), tab.console
    world.collector.plan = lambda events: None
    ids = _record(tab, 1)
    assert {event["id"] for event in world.collector.wait_for_events(1)} == ids
    assert len(world.collector.requests) == 2


def what_is_too_much_is_halved(world):
    world.collector.plan = lambda events: (413, {}) if len(events) > 3 else None
    tab = world.tab(world.shopper(), world.page(delay=10))
    ids = _record(tab, 10)
    assert {event["id"] for event in world.collector.wait_for_events(10)} == ids
    assert [len(request.events) for request in world.collector.requests][:4] == [10, 5, 3, 3]


def batches_are_bounded(world):
    tab = world.tab(world.shopper(), world.page(delay=600_000, max_batch=40, max_batch_bytes=10_000))
    _record(tab, 100)
    tab.js("reco.custom('long', { text: 'ü'.repeat(40_000) }), reco.pageview(), reco.flush()")
    tab.until("reco.status().queued === 0")
    assert [event["kind"] for event in world.collector.accepted()][-2:] == ["custom", "pageview"]
    for request in world.collector.requests:
        alone = len(request.events) == 1
        assert len(request.events) <= 40 and (alone or len(str(request.events)) < 12_000), len(request.events)


def a_full_queue_drops_the_oldest_and_says_so(world):
    world.collector.plan = lambda events: (503, {})
    tab = world.tab(world.shopper(), world.page(delay=10, backoff=50, max_queued=5))
    _record(tab, 8)
    assert tab.js("[reco.status().queued, reco.status().dropped]") == [5, 3]
    world.collector.wait_for_requests(1)
    world.collector.plan = lambda events: None
    tab.until("reco.status().queued === 0")
    tab.js("reco.pageview(), null")
    events = world.collector.wait_for_events(6)
    assert [event.get("item") for event in events] == ["sku-3", "sku-4", "sku-5", "sku-6", "sku-7", None]
    assert events[-1]["dropped"] == 3, "later events tell of the gap"
    tab.until("reco.status().queued === 0")
    tab.open(world.page(delay=600_000, max_queued_bytes=2000))
    _record(tab, 30)
    assert tab.js("reco.status().queued") < 8 and tab.js("reco.status().queued + reco.status().dropped") == 33


def storage_that_is_blocked_does_not_matter(world):
    denied = """for (const name of ["localStorage", "sessionStorage"])
        Object.defineProperty(window, name, { get() { throw new DOMException("denied", "SecurityError"); } });"""
    tab = world.tab(world.shopper(), world.page(pageview="", delay=20), before=denied)
    world.collector.wait_for_events(1)
    tab.reload()
    events = world.collector.wait_for_events(2)
    assert [len({event[name] for event in events}) for name in ("client", "session")] == [1, 1], f"kept in cookies: {events}"
    tab.until("reco.status().queued === 0")


def a_sandboxed_frame_stores_nothing_but_sends(world):
    tab = world.tab(world.shopper(), f"{world.site.url}/page")
    tab.js(f"""new Promise((resolve) => {{
        const frame = document.createElement("iframe");
        frame.sandbox = "allow-scripts";
        frame.src = "{world.page(pageview='', delay=20)}";
        frame.onload = resolve;
        document.body.append(frame);
    }})""")
    (event,) = world.collector.wait_for_events(1)
    assert event["client"] and event["session"]


def storage_that_is_full_does_not_matter(world):
    tab = world.tab(world.shopper(), world.bare_page())
    tab.js("""for (let size = 1 << 22; size; size >>= 1)
        for (;;) try { localStorage.setItem(`shop.${size}.${localStorage.length}`, "x".repeat(size)); } catch { break; }""")
    tab.js(f'reco.init({{ endpoint: "{world.endpoint}", delay: 20 }})')
    ids = _record(tab, 4)
    assert {event["id"] for event in world.collector.wait_for_events(4)} == ids
    tab.until("reco.status().queued === 0")
