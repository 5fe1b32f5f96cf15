"""What becomes an event: kinds, fields, ids, sessions, consent."""
import re

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
MINUTE = 60_000

# A clock that the test sets.
CLOCK = "window.minutes = 0;"


def _init(world, **options):
    """The call that a page makes by itself."""
    rest = "".join(f", {name}: {value}" for name, value in options.items())
    return f'reco.init({{ endpoint: "{world.endpoint}", delay: 20{rest} }})'


def every_kind_arrives(world):
    tab = world.tab(world.shopper(), world.page(delay=20, key="secret+1", pageview=""))
    tab.js("""
        reco.detail("sku-1", { price: 9.5, currency: "EUR", colour: "red" }),
        reco.click(17),
        reco.add("sku-1", { price: 9.5, quantity: 2, currency: "EUR" }),
        reco.remove("sku-1", { quantity: 1 }),
        reco.purchase([{ item: "sku-1", price: 9.5, quantity: 1 }, { item: "sku-2", price: 3, quantity: 4 }],
                      { currency: "EUR", transaction: "t-1" }),
        reco.search("röd \\"kruka\\" \\u{1fab4}"),
        reco.custom("newsletter", { list: "weekly", id: "mine", client: "mine" }), null""")
    events = world.collector.wait_for_events(9)
    kinds = [event["kind"] for event in events]
    assert kinds == ["pageview", "detail", "click", "add", "remove", "purchase", "purchase", "search", "custom"], kinds
    page, detail, click, add, removal, first, second, search, custom = events
    assert list(page) == ["id", "kind", "client", "session", "occurred_at", "url", "referrer", "title"], page
    assert page["url"].startswith(world.site.url) and page["title"] == "A page", page
    assert (detail["item"], detail["price"], detail["currency"], detail["colour"]) == ("sku-1", 9.5, "EUR", "red"), detail
    assert click["item"] == "17", click
    assert (add["quantity"], removal["quantity"]) == (2, 1)
    assert [(line["item"], line["price"], line["quantity"]) for line in (first, second)] == [("sku-1", 9.5, 1), ("sku-2", 3, 4)]
    assert {(line["transaction"], line["currency"]) for line in (first, second)} == {("t-1", "EUR")}
    assert search["query"] == 'röd "kruka" \U0001fab4', search
    assert (custom["name"], custom["list"]) == ("newsletter", "weekly"), custom
    for name in ("id", "client", "session"):
        assert all(UUID.fullmatch(event[name]) for event in events), name
    assert [len({event[name] for event in events}) for name in ("id", "client", "session")] == [9, 1, 1]
    now = tab.js("Date.now()")
    assert all(now - MINUTE < event["occurred_at"] <= now for event in events)
    requests = world.collector.requests
    assert all(request.content_type == "text/plain;charset=UTF-8" for request in requests), requests
    assert all(request.query == "key=secret%2B1" for request in requests), requests
    assert world.collector.preflights == 0
    tab.until("reco.status().queued === 0")


def wrong_calls_do_not_throw(world):
    tab = world.tab(world.shopper(), world.bare_page())
    tab.js('reco.pageview(), reco.init(), reco.push(["nonsense"])')
    assert len(tab.console) == 3 and "before `init`" in tab.console[0], tab.console
    tab.js(_init(world))
    assert tab.js("reco.detail()") is None
    assert tab.js("const ring = {}; ring.ring = ring; reco.custom('ring', ring)") is None
    assert tab.js("reco.status().rejected") == 1
    assert len(tab.console) == 5, tab.console
    tab.js("reco.pageview(), null")
    assert [event["kind"] for event in world.collector.wait_for_events(1)] == ["pageview"]


def calls_before_the_script_are_kept(world):
    tab = world.tab(world.shopper(), world.page(delay=20), before='window.reco = [["detail", "sku-1"], ["click", "sku-2"]];')
    assert [event["item"] for event in world.collector.wait_for_events(2)] == ["sku-1", "sku-2"]
    tab.js("import('/reco.js').then(() => reco.pageview()), null")
    assert world.collector.wait_for_events(3)[2]["kind"] == "pageview", "the second inclusion changes nothing"


def a_module_may_import_it(world):
    tab = world.tab(world.shopper(), f"{world.site.url}/shop.css")
    tab.js(f"import('/reco.js').then(() => {{ {_init(world)}; reco.pageview(); }})")
    assert len(world.collector.wait_for_events(1)) == 1


def a_session_goes_on_over_pages(world):
    shopper = world.shopper()
    tab = world.tab(shopper, world.page(pageview="", delay=20))
    tab.open(world.page(pageview="", delay=20, n=2))
    world.tab(shopper, world.page(pageview="", delay=20, n=3))
    events = {event["id"]: event for event in world.collector.wait_for_events(3)}.values()
    assert [len({event[name] for event in events}) for name in ("client", "session", "url")] == [1, 1, 3], events
    world.tab(world.shopper(), world.page(pageview="", delay=20))
    events = world.collector.wait_for_events(4)
    assert [len({event[name] for event in events}) for name in ("client", "session")] == [2, 2], "another browser"


def a_pause_renews_the_session(world):
    shopper = world.shopper()
    tab = world.tab(shopper, world.bare_page(), before=CLOCK)

    def record(tab, minutes):
        """The session of an event so many minutes after the start."""
        n = len({event["id"] for event in world.collector.accepted()}) + 1
        tab.js(f"minutes = {minutes}, reco.pageview(), null")
        return world.collector.wait_for_events(n)[-1]["session"]

    start = tab.js("Date.now()")
    clock = f"() => {start} + minutes * {MINUTE}"
    tab.js(_init(world, now=clock))
    first = record(tab, 0)
    assert record(tab, 30) == first, "a pause of exactly the limit still belongs to the session"
    second = record(tab, 60 + 1 / MINUTE)
    assert second != first
    other = world.tab(shopper, world.bare_page(), before=CLOCK)
    other.js(_init(world, now=clock))
    assert record(other, 89) == second, "another tab goes on with it"
    assert record(tab, 118) == second, "what the other tab did counts as activity"
    tab.open(world.bare_page())
    tab.js(_init(world, now=clock, sessionMinutes=5))
    third = record(tab, 124)
    assert third != second, "the limit can be set"
    assert record(tab, 20) not in (second, third), "a clock set back does not make one session for ever"
    assert len({event["client"] for event in world.collector.accepted()}) == 1


def nothing_is_stored_or_sent_without_consent(world):
    shopper = world.shopper()
    tab = world.tab(shopper, world.page(consent="ask", pageview="", delay=20))
    tab.js("reco.detail('sku-1'), reco.flush()")
    stored = "[localStorage.length, document.cookie, sessionStorage.length]"
    assert tab.js(stored) == [0, "", 0]
    assert tab.js("reco.status().withheld") == 1 and tab.js("reco.status().client") is None
    tab.open("about:blank")  # No beacon, either.
    tab.open(world.page(consent="ask", pageview="", delay=20))
    assert world.collector.requests == []
    tab.js("reco.consent(true)")
    assert [event["kind"] for event in world.collector.wait_for_events(1)] == ["pageview"], "not what was done before"
    tab.until("reco.status().queued === 0")
    tab.reload()
    events = world.collector.wait_for_events(2)
    assert len({event["client"] for event in events}) == 1, "the choice is remembered"
    tab.until("reco.status().queued === 0")

    tab.js("reco.consent(false)")
    assert tab.js("Object.entries(localStorage).join()") == "reco.consent,no"
    tab.open(world.page(pageview="", delay=20))
    assert tab.js("reco.pageview()") is None, "a refusal holds where consent is given by default"
    assert tab.js("reco.forget(), reco.pageview()") is None, "and forgetting does not lift it"
    assert len(world.collector.requests) == 2


def nothing_is_stored_without_consent_and_tls(world):
    site = world.site.url.replace("127.0.0.1", "shop.test")
    tab = world.tab(world.shopper(), world.page(consent="ask", delay=0).replace(world.site.url, site))
    tab.js("reco.pageview(), reco.flush()")
    assert tab.js("[localStorage.length, document.cookie]") == [0, ""]


def forgetting_leaves_nothing(world):
    world.collector.plan = lambda events: (503, {})
    tab = world.tab(world.shopper(), world.page(delay=20))
    tab.js("reco.pageview(), null")
    world.collector.wait_for_requests(1)
    tab.until("reco.status().retryAt !== null")
    client = tab.js("reco.status().client")
    assert tab.js("reco.forget()") == client
    assert tab.js("localStorage.length + document.cookie.length") == 0
    world.collector.plan = lambda events: None
    tab.js("reco.pageview(), null")
    assert [event["client"] != client for event in world.collector.wait_for_events(1)] == [True]


def pages_without_tls_have_ids_too(world):
    site = world.site.url.replace("127.0.0.1", "shop.test")
    tab = world.tab(world.shopper(), world.page(pageview="", delay=20).replace(world.site.url, site))
    assert tab.js("[isSecureContext, typeof crypto.randomUUID, typeof navigator.locks]") == [False, "undefined", "undefined"]
    (event,) = world.collector.wait_for_events(1)
    assert all(UUID.fullmatch(event[name]) for name in ("id", "client", "session")), event
    tab.until("reco.status().queued === 0")
