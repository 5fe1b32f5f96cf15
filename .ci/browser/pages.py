"""The pages that `reco-transform` makes: the graph of a DAG and the dashboard, as the example `shop_dashboard` writes them."""

# Text that can be seen, with its colour and the one behind it, as a browser has computed them.
CONTRASTS = """(() => {
  const rgb = text => {
    const n = text.match(/-?[\\d.]+(e-?\\d+)?/g).map(Number);
    return text.startsWith("color(") ? [...n.slice(0, 3).map(c => c * 255), n[3] ?? 1] : [...n.slice(0, 3), n[3] ?? 1];
  };
  const luminance = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      if (at.tagName === "g" && at.querySelector("rect")) return rgb(getComputedStyle(at.querySelector("rect")).fill);
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter(node => node.nodeType === 3).map(node => node.data.trim()).join("");
    if (!text || ["SCRIPT", "STYLE", "TITLE", "title", "NOSCRIPT"].includes(element.tagName) || !element.checkVisibility()) continue;
    if (element.getBoundingClientRect().width <= 1) continue; // For those who do not see it.
    const style = getComputedStyle(element), size = parseFloat(style.fontSize);
    const [high, low] = [luminance(rgb(element.closest("svg") ? style.fill : style.color)), luminance(behind(element))].sort((a, b) => b - a);
    const least = size >= 24 || size >= 18.66 && style.fontWeight >= 700 ? 3 : 4.5;
    const ratio = (high + .05) / (low + .05);
    if (ratio < least) found.push(`${element.tagName}.${element.getAttribute("class")} "${text.slice(0, 20)}" ${ratio.toFixed(2)}`);
  }
  return found;
})()"""


def _open(world, name, width=1280, scheme="light"):
    tab = world.tab(world.shopper())
    tab.watch()
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
    tab.open((world.pages / name).resolve().as_uri())
    return tab


def _click(tab, selector):
    """A click of the mouse in the middle of an element."""
    x, y = tab.js(f"""(() => {{
        const element = document.querySelector({selector!r});
        element.scrollIntoView({{ block: "center", inline: "center" }});
        const box = element.getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2];
    }})()""")
    for kind in ("mousePressed", "mouseReleased"):
        tab.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def _press(tab, key):
    code = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowRight": 39, "ArrowUp": 38, "ArrowDown": 40}.get(key, 0)
    text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
    tab.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
    tab.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)


def _names(tab, selector):
    """The names of the tables on the graph that the selector finds."""
    return set(tab.js(f"[...document.querySelectorAll({selector!r})].map(node => node.querySelector('title').textContent)"))


def _reach(tab, table, up):
    """The tables that one is made of, or that are made of it, as the page's own model has them."""
    reads = tab.js("Object.fromEntries(JSON.parse(document.getElementById('model').textContent).tables.map(t => [t.table, t.inputs]))")
    following = (lambda name: reads[name]) if up else (lambda name: [other for other in reads if name in reads[other]])
    found, queue = set(), [table]
    while queue:
        for other in following(queue.pop()):
            if other not in found:
                found.add(other)
                queue.append(other)
    return found


def pages_ask_for_nothing(world):
    for name in ("dashboard.html", "dag.html"):
        tab = _open(world, name)
        assert [url.rsplit("/", 1)[1] for url in tab.requests] == [name], tab.requests
        # Nor could they, whatever was in their tables.
        asked = tab.js("fetch('https://example.org/').then(() => 'sent', () => 'refused')")
        assert asked == "refused", asked
        image = "new Promise(done => { const image = new Image(); image.onload = () => done('loaded'); image.onerror = () => done('refused'); image.src = 'data:image/gif;base64,R0lGODlhAQABAAAAACw='; })"
        assert tab.js(image) == "refused"


def pages_say_nothing_on_the_console(world):
    for name in ("dashboard.html", "dag.html"):
        tab = _open(world, name)
        tab.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert not tab.console and not tab.log, (tab.console, tab.log)


def pages_fit_a_phone_and_a_wall(world):
    for name in ("dashboard.html", "dag.html"):
        for width in (360, 390, 768, 1280, 2200):
            tab = _open(world, name, width)
            has, needs = tab.js("[document.documentElement.clientWidth, document.documentElement.scrollWidth]")
            assert needs <= has, f"{name} at {width}: {needs} pixels wide"
            if world.screenshots:
                tab.screenshot(world.screenshots / f"{name}-{width}.png", width, min(4000, tab.js("document.documentElement.scrollHeight")))


def pages_can_be_read(world):
    for name in ("dashboard.html", "dag.html"):
        for scheme in ("light", "dark"):
            tab = _open(world, name, scheme=scheme)
            low = tab.js(CONTRASTS)
            assert not low, f"{name}, {scheme}, too little contrast: {low[:8]}"
            ground = tab.js("getComputedStyle(document.body).backgroundColor")
            bright = sum(map(int, ground[4:-1].split(","))) > 384
            assert bright == (scheme == "light"), (scheme, ground)
            if world.screenshots:
                tab.screenshot(world.screenshots / f"{name}-{scheme}.png", 1280, min(4000, tab.js("document.documentElement.scrollHeight")))
        headings = tab.js("[...document.querySelectorAll('h1,h2,h3,h4')].map(heading => +heading.tagName[1])")
        assert headings.count(1) == 1 and headings[0] == 1, headings
        assert all(b <= a + 1 for a, b in zip(headings, headings[1:])), headings
        unnamed = tab.js("[...document.querySelectorAll('[role=img], [role=button], [role=region], input')].filter(e => !e.getAttribute('aria-label')).length")
        assert unnamed == 0, f"{unnamed} elements without a name"


def a_chart_shows_its_numbers(world):
    tab = _open(world, "dashboard.html")
    bars = tab.js("document.querySelectorAll('.bar').length")
    assert bars > 7, bars
    shown = "document.querySelector('details tr').checkVisibility()"
    assert not tab.js(shown)
    _click(tab, "summary")
    tab.until(shown)
    rows = tab.js("document.querySelector('details').querySelectorAll('tr').length")
    strips = tab.js("document.querySelector('.plot').querySelectorAll('.hit title').length")
    assert rows == strips >= bars, (rows, strips, bars)
    # The highest bar is the day with the highest number.
    tallest, most = tab.js("""(() => {
        const heights = [...document.querySelectorAll('.bar')].map(bar => +bar.getAttribute('height'));
        const numbers = [...document.querySelector('details').querySelectorAll('td')].map(cell => parseFloat(cell.textContent.replace(/[^\\d.]/g, ''))).reverse();
        return [heights.indexOf(Math.max(...heights)), numbers.indexOf(Math.max(...numbers))];
    })()""")
    assert tallest == most, (tallest, most)


def a_search_finds_tables_columns_and_tags(world):
    tab = _open(world, "dag.html")
    everything = _names(tab, ".table")
    _press(tab, "/")
    tab.until("document.activeElement.id === 'search'")
    for text, expected in (("kpi", {"kpi", "kpi_hourly"}), ("daily", {"kpi", "funnel"}), ("n_searches", {"searches"})):
        tab.js("(() => { const search = document.getElementById('search'); search.focus(); search.select(); })()")
        tab.call("Input.insertText", text=text)
        tab.until(f"document.querySelector('#panel h2').textContent === '{len(expected)} found'")
        assert _names(tab, ".table:not(.dim)") == expected, text
    _press(tab, "Escape")
    tab.until("document.querySelector('#panel h2').textContent === 'Tables'")
    assert _names(tab, ".table:not(.dim)") == everything


def a_table_shows_what_it_is_made_of(world):
    tab = _open(world, "dag.html")
    position = tab.js("[...document.querySelectorAll('.table')].findIndex(node => node.querySelector('title').textContent === 'sessions')")
    _click(tab, f".table[data-i='{position}'] rect")
    tab.until("document.querySelector('#panel h2').textContent === 'sessions'")
    assert tab.js("location.hash") == "#sessions"
    assert _names(tab, ".table.up") == _reach(tab, "sessions", up=True) >= {"events", "deduplicated"}
    assert _names(tab, ".table.down") == _reach(tab, "sessions", up=False) >= {"kpi", "funnel"}
    checks = tab.js("document.getElementById('panel').textContent")
    assert "not_null(session_id)" in checks, checks
    # On by a link, and back as one came.
    tab.js("[...document.querySelectorAll('#panel button')].find(button => button.textContent === 'kpi').click()")
    tab.until("document.querySelector('#panel h2').textContent === 'kpi'")
    tab.js("history.back()")
    tab.until("document.querySelector('#panel h2').textContent === 'sessions'")
    tab.js("history.back()")
    tab.until("document.querySelector('#panel h2').textContent === 'Tables'")
    # The address alone shows the same, in a tab that shows another page.
    tab.open("about:blank")
    tab.open((world.pages / "dag.html").resolve().as_uri() + "#kpi/revenue")
    tab.until("document.querySelector('#panel h2')?.textContent === 'kpi'")


def a_column_shows_its_lineage(world):
    tab = _open(world, "dag.html")
    tab.js("location.hash = 'kpi'")
    tab.until("document.querySelector('#panel h2').textContent === 'kpi'")
    tab.js("[...document.querySelectorAll('#panel button')].find(button => button.textContent === 'revenue').click()")
    tab.until("document.getElementById('lineage') !== null")
    lineage = tab.js("document.getElementById('lineage').innerText")
    for column in ("sessions.price", "sessions.quantity", "events.price"):
        assert column in lineage, (column, lineage)
    assert tab.js("document.querySelector('tr[aria-current]').textContent").startswith("revenue")
    assert _names(tab, ".table.up") == {"events", "deduplicated", "all_sessions", "sessions"}
    tab.js("[...document.querySelectorAll('#lineage button')].find(button => button.textContent === 'events.price').click()")
    tab.until("document.querySelector('#panel h2').textContent === 'events'")
    assert "kpi.revenue" in tab.js("document.getElementById('lineage').innerText")


def the_keyboard_is_enough(world):
    tab = _open(world, "dag.html")
    focused = "document.activeElement.querySelector?.('title')?.textContent"
    tab.js("[...document.querySelectorAll('.table')].find(node => node.querySelector('title').textContent === 'events').focus()")
    _press(tab, "ArrowRight")
    tab.until(f"{focused} === 'deduplicated'")
    _press(tab, "Enter")
    tab.until("document.querySelector('#panel h2').textContent === 'deduplicated'")
    _press(tab, "ArrowLeft")
    tab.until(f"{focused} === 'events'")
    _press(tab, "Escape")
    tab.until("document.querySelector('#panel h2').textContent === 'Tables'")
