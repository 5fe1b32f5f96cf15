"""A walk through the demo shop."""


def a_shopper_buys_two_things(world):
    tab = world.tab(world.shopper())
    picture = 0

    def look(**size):
        """Takes a picture, if somebody wants them."""
        nonlocal picture
        picture += 1
        if world.screenshots:
            tab.screenshot(world.screenshots / f"{picture}.png", **size)

    def click(selector):
        tab.js(f"document.querySelector('{selector}').click()")

    tab.call("Emulation.setDeviceMetricsOverride", width=1280, height=1000, deviceScaleFactor=1, mobile=False)
    tab.open(f"{world.site.url}/shop.html")
    assert tab.js("!document.getElementById('consent').hidden && reco.status().consent === null")
    click("[data-click=mug-sand]")
    look()
    assert world.collector.requests == []
    tab.js("location.hash = '#/'")
    click("#consent [data-consent=yes]")
    assert tab.js("document.getElementById('consent').hidden")
    tab.js("document.querySelector('#search input').value = 'glass', document.querySelector('#search').requestSubmit()")
    tab.until("document.title.startsWith('Search')")
    click("[data-click=clock-wall]")
    tab.until("document.title === 'Wall clock'")
    click("[data-add=clock-wall]")
    world.collector.wait_for_events(5)
    tab.until("document.querySelector('#panel [data-count=sent]').textContent === '5'")
    look()

    world.collector.plan = lambda events: (503, {"Retry-After": "2"})
    tab.js("location.hash = '#/category/Kitchen'")
    tab.until("document.title === 'Kitchen'")
    for item in ("bowls-nest", "teapot-ink", "bowls-nest"):
        click(f"[data-add={item}]")
    tab.js("location.hash = '#/cart'")
    tab.until("document.title === 'Your cart' && reco.status().retryAt !== null")
    look()
    click("[data-remove=teapot-ink]")
    world.collector.plan = lambda events: None
    click("#buy")
    tab.until("document.title === 'Thank you'")
    tab.js("location.hash = '#/'")
    tab.until("document.querySelector('#letter')")
    tab.js("document.querySelector('#letter').requestSubmit()")
    events = world.collector.wait_for_events(17)
    tab.until("reco.status().queued === 0")
    look()
    look(width=420, height=900)
    told = [event["kind"] if event["kind"] == "pageview" else f"{event['kind']} {event.get('item', '')}".strip() for event in events]
    assert told == [
        "pageview", "search", "click clock-wall", "detail clock-wall", "add clock-wall",
        "pageview", "add bowls-nest", "add teapot-ink", "add bowls-nest", "pageview",
        "remove teapot-ink", "pageview", "purchase clock-wall", "purchase bowls-nest", "pageview", "pageview", "custom",
    ], told
    clock, bowls = [event for event in events if event["kind"] == "purchase"]
    assert (clock["quantity"], clock["price"], bowls["quantity"], bowls["price"]) == (1, 46, 2, 42)
    assert clock["transaction"] == bowls["transaction"] and clock["currency"] == "EUR"
    assert [len({event[name] for event in events}) for name in ("client", "session")] == [1, 1]
    assert tab.js("document.querySelectorAll('#panel li').length") == 17
    assert tab.js("document.querySelectorAll('#panel .fate.good').length") == 17, "the panel shows what became of each"
    assert tab.js("performance.getEntriesByType('resource').filter((r) => !r.name.startsWith(location.origin) && !r.name.endsWith('/collect')).length") == 0
    click("#panel-forget")
    assert tab.js("localStorage.length === 0 && !document.getElementById('consent').hidden")
