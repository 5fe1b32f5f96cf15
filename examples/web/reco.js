/*
 * reco.js: sends what shoppers do on a page to a collector (`POST /collect`).
 *
 *   <script src="reco.js" data-endpoint="https://events.shop.example/collect" data-key="…" async></script>
 *
 * or, as a module, `import "./reco.js"` and `reco.init({ endpoint: "…" })`. Both give the global `reco`.
 * Calls made before the file has loaded are kept by a plain array:
 *
 *   window.reco = window.reco || [];
 *   reco.push(["detail", "sku-1", { price: 9.9, currency: "EUR" }]);
 *
 * Delivery is at least once. An event is written to localStorage under a key of its own before anything is
 * sent, and is removed only after the collector answered 2xx. `sendBeacon`, used when the page goes away, has no
 * answer: what it carried is sent again by the next page, under the same event id, by which the pipeline
 * removes duplicates. What cannot be kept is counted and seen in `reco.status()`; nothing throws into the page.
 */
(function () {
  "use strict";
  if (window.reco && !Array.isArray(window.reco)) return; // The file was included twice.

  /** Settings of `reco.init`; those that are no functions are also `data-` attributes of the script tag. */
  const DEFAULTS = {
    endpoint: "", //           URL of the collector's `/collect`
    key: "", //                the shop's key; goes into the query, since beacons carry no headers
    consent: "given", //       "ask": nothing is stored or sent before `reco.consent(true)`
    pageview: false, //        records a page view on load, or as soon as there is consent
    sessionMinutes: 30, //     a longer pause than this begins a new session
    prefix: "reco", //         of every name in localStorage and of every cookie
    delay: 1000, //            ms that events wait for others, to be sent together
    timeout: 30000, //         ms after which a request without an answer has failed
    backoff: 1000, //          ms before the first retry; doubles each time, with jitter
    maxBackoff: 60000, //      ms between retries, at most
    maxQueued: 1000, //        events that wait here; beyond, the oldest are dropped and counted
    maxQueuedBytes: 1 << 20, // the same in bytes; browsers give a site about 5 MB
    maxBatch: 100, //          events in a request
    maxBatchBytes: 48 << 10, // bytes in a request; browsers give keepalive requests 64 KiB
    now: () => Date.now(), //  the clock, in ms
  };
  const LONGEST_WAIT = 3600e3; // ms; no `Retry-After` and no clock set back may silence a browser for longer.
  const SETTLING = 50; //         ms in which other tabs see what was written to localStorage; they may be other processes.

  const tab = uuid();
  const totals = { sent: 0, rejected: 0, withheld: 0 }; // Numbers of events, of this page.
  const inFlight = new Set(), beaconed = new Set();
  let config = null, sequence = 0, timer = 0, due = 0, sending = null, batchLimit = Infinity, lastAnswer = null;

  // ## Storage: localStorage, cookies for the few small values, else the memory of this page.

  const memory = new Map();
  const SMALL = ["client", "session", "consent"];
  const keyOf = (name) => `${config.prefix}.${name}`;

  function get(name) {
    if (memory.has(name)) return memory.get(name);
    let value = null;
    try { value = localStorage.getItem(keyOf(name)); } catch { /* Blocked. */ }
    return value === null && SMALL.includes(name) ? cookie(name) : value;
  }

  function put(name, value) {
    try {
      localStorage.setItem(keyOf(name), value);
      memory.delete(name);
    } catch { // Blocked or full.
      memory.set(name, value);
      if (SMALL.includes(name)) cookie(name, value);
    }
  }

  function remove(name) {
    memory.delete(name);
    try { localStorage.removeItem(keyOf(name)); } catch { /* Blocked: it is not there. */ }
    if (SMALL.includes(name) && cookie(name) !== null) cookie(name, null);
  }

  /** Reads a cookie; with a value sets it, with `null` removes it. */
  function cookie(name, value) {
    const start = `${keyOf(name)}=`;
    try {
      if (value === undefined) {
        const found = document.cookie.split("; ").find((pair) => pair.startsWith(start));
        return found === undefined ? null : decodeURIComponent(found.slice(start.length));
      }
      const secure = location.protocol === "https:" ? "; Secure" : "", seconds = value === null ? 0 : 365 * 86400;
      document.cookie = `${start}${encodeURIComponent(value || "")}; Path=/; SameSite=Lax; Max-Age=${seconds}${secure}`;
    } catch { /* Blocked, as in a sandboxed frame. */ }
    return null;
  }

  /** The names that begin so, in order. */
  function names(start) {
    const found = new Set([...memory.keys()].filter((name) => name.startsWith(start)));
    try {
      const keys = Array.from({ length: localStorage.length }, (_, i) => localStorage.key(i));
      keys.filter((key) => key.startsWith(keyOf(start))).forEach((key) => found.add(key.slice(keyOf("").length)));
    } catch { /* Blocked. */ }
    return [...found].sort();
  }

  function getJson(name, otherwise) {
    try { return JSON.parse(get(name)) || otherwise; } catch { return otherwise; }
  }

  // ## Who, and since when

  /** A random UUID. Pages without TLS have no `randomUUID`. */
  function uuid() {
    if (crypto.randomUUID) return crypto.randomUUID();
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  }

  /** True, false, or null if the shopper has not been asked yet. */
  function allowed() {
    const said = get("consent");
    return said ? said === "yes" : config.consent === "given" || null;
  }

  function client() {
    if (!get("client")) put("client", uuid());
    return get("client");
  }

  /** The session that all tabs share. A pause of exactly the limit still belongs to it. */
  function session(at) {
    const last = getJson("session", null);
    const goesOn = last && Math.abs(at - last.at) <= config.sessionMinutes * 60e3;
    const id = goesOn ? last.id : uuid();
    put("session", JSON.stringify({ id, at }));
    return id;
  }

  // ## The queue: one name per event, so that tabs never overwrite each other's.

  function record(kind, fields) {
    if (!allowed()) {
      totals.withheld += 1;
      return null;
    }
    const at = Math.round(config.now());
    const own = { id: uuid(), kind, client: client(), session: session(at), occurred_at: at };
    const page = { url: location.href, referrer: document.referrer, title: document.title };
    const dropped = Number(get("dropped")) || undefined; // So that the shop learns of gaps, too.
    const event = { ...own, ...page, dropped, ...fields, ...own }; // `own` twice: first in order, and never overridden.
    const text = JSON.stringify(event);
    makeRoom(text.length);
    sequence += 1;
    put(`event.${String(at).padStart(15, "0")}.${String(sequence).padStart(9, "0")}.${event.id}`, text);
    emit("recorded", { event });
    schedule(config.delay);
    return event.id;
  }

  /** Drops the oldest events until one more fits. */
  function makeRoom(size) {
    const queue = names("event.");
    const sizes = queue.map((name) => (get(name) || "").length);
    let total = sizes.reduce((sum, n) => sum + n, size), n = 0;
    while (n < queue.length && (queue.length - n >= config.maxQueued || total > config.maxQueuedBytes)) total -= sizes[n++];
    if (!n) return;
    const oldest = queue.slice(0, n);
    oldest.forEach(remove);
    put("dropped", String((Number(get("dropped")) || 0) + n));
    warn(`the queue is full: the ${n} oldest events were dropped`);
    emit("dropped", { ids: oldest.map(idOf) });
  }

  /** The oldest events that fit into one request, but those that `skip` names. */
  function nextBatch(skip) {
    const batch = { names: [], texts: [], bytes: 2 };
    for (const name of names("event.")) {
      if (batch.names.length >= Math.min(config.maxBatch, batchLimit)) break;
      const text = skip && skip(name) ? null : get(name);
      if (!text) continue;
      const bytes = new TextEncoder().encode(text).length + 1;
      if (batch.names.length && batch.bytes + bytes > config.maxBatchBytes) break;
      batch.names.push(name);
      batch.texts.push(text);
      batch.bytes += bytes;
    }
    return batch;
  }

  const idOf = (name) => name.slice(name.lastIndexOf(".") + 1);

  // ## Sending

  function schedule(ms) {
    if (timer && due <= Date.now() + ms) return;
    clearTimeout(timer);
    due = Date.now() + ms;
    timer = setTimeout(() => { timer = 0; flush(); }, ms);
  }

  /** Sends the queue, batch after batch, until it is empty or the collector wants a pause. */
  function flush() {
    if (sending) schedule(config.delay); // What came in the meantime may have missed the last batch.
    else if (allowed() && names("event.").length) sending = (async () => {
      try { while (await exclusively(sendBatch)); } catch (error) { warn("sending failed", error); }
      sending = null;
    })();
    return sending;
  }

  /** Runs the task in one tab at a time. Should two tabs run it all the same, events are sent twice, never lost. */
  async function exclusively(task) {
    let ran = false;
    if (navigator.locks) {
      try {
        return await navigator.locks.request(keyOf("send"), async () => {
          ran = true;
          const result = await task();
          await settled();
          return result;
        });
      } catch (error) { if (ran) throw error; } // Refused, as in a sandboxed frame.
    }
    const wait = limited(getJson("lease", { until: 0 }).until - config.now(), config.timeout + 1000);
    if (wait > 0) return schedule(wait);
    put("lease", JSON.stringify({ tab, until: config.now() + config.timeout }));
    await settled(); // Two may have written at once: the last one has it.
    if (getJson("lease", {}).tab !== tab) return schedule(config.delay);
    try { return await task(); } finally { remove("lease"); }
  }

  const settled = () => new Promise((resolve) => setTimeout(resolve, SETTLING));

  /** Sends one batch; true if another may follow. */
  async function sendBatch() {
    if (!allowed()) return false;
    const wait = limited(getJson("retry", { at: 0 }).at - config.now(), LONGEST_WAIT);
    const batch = nextBatch();
    if (!batch.names.length) return false;
    if (wait > 0) return schedule(wait);
    batch.names.forEach((name) => inFlight.add(name));
    const answer = await post(batch);
    batch.names.forEach((name) => inFlight.delete(name));

    const { status } = answer, count = batch.names.length;
    const hopeless = status >= 400 && status < 500 && ![408, 425, 429].includes(status);
    let kept = false, retryAt = null;
    if (status >= 200 && status < 300) {
      batch.names.forEach(remove);
      totals.sent += count;
      remove("retry");
      if (answer.body && answer.body.dead_lettered) warn("the collector could not read all events", answer.body.reasons);
    } else if (status === 413 && count > 1) {
      kept = true;
      batchLimit = Math.ceil(count / 2);
    } else if (hopeless) { // The same bytes would be refused for ever.
      batch.names.forEach(remove);
      totals.rejected += count;
      warn(`the collector refused ${count} events with status ${status}; they were dropped`);
    } else {
      kept = true;
      const n = getJson("retry", { n: 0 }).n + 1;
      const pause = Math.min(config.maxBackoff, config.backoff * 2 ** (n - 1)) * (0.5 + Math.random() / 2);
      retryAt = config.now() + answer.retryAfter + pause;
      put("retry", JSON.stringify({ n, at: retryAt })); // Other tabs and the next page wait, too.
    }
    lastAnswer = { status, at: config.now(), events: count };
    emit("answered", { status, ids: batch.names.map(idOf), kept, retryAt, body: answer.body });
    if (retryAt !== null) schedule(retryAt - config.now());
    return retryAt === null;
  }

  /** The collector's answer; status 0 if there was none. */
  async function post(batch) {
    const abort = new AbortController();
    const expiry = setTimeout(() => abort.abort(), config.timeout);
    try {
      // A string is sent as text/plain, which needs no CORS preflight.
      const answer = await fetch(url(), {
        method: "POST", body: `[${batch.texts.join(",")}]`, credentials: "omit",
        keepalive: batch.bytes <= 60 << 10, signal: abort.signal,
      });
      const after = answer.headers.get("retry-after");
      const ms = /^\d+$/.test(after) ? after * 1000 : Date.parse(after) - Date.now();
      const body = await answer.json().catch(() => null);
      return { status: answer.status, retryAfter: limited(ms, LONGEST_WAIT), body };
    } catch {
      return { status: 0, retryAfter: 0, body: null };
    } finally {
      clearTimeout(expiry);
    }
  }

  /** Sends, when the page goes away, what no request carries yet. It stays queued, as there is no answer. */
  function beacon() {
    if (!allowed() || !navigator.sendBeacon || getJson("retry", { at: 0 }).at > config.now()) return;
    const batch = nextBatch((name) => inFlight.has(name) || beaconed.has(name));
    if (batch.names.length && navigator.sendBeacon(url(), `[${batch.texts.join(",")}]`)) {
      batch.names.forEach((name) => beaconed.add(name));
      emit("beaconed", { ids: batch.names.map(idOf) });
    }
  }

  function url() {
    const address = new URL(config.endpoint, location.href);
    if (config.key) address.searchParams.set("key", config.key);
    return address.href;
  }

  /** A pause in ms between nothing and `most`; nothing if it is no number. */
  const limited = (ms, most) => Math.min(Math.max(ms, 0), most) || 0;

  const warn = (...words) => console.warn("reco:", ...words);

  /** Tells the page, for those who want to watch: `addEventListener("reco", (e) => e.detail)`. */
  function emit(type, detail) {
    window.dispatchEvent(new CustomEvent("reco", { detail: { type, ...detail } }));
  }

  // ## What the page calls

  const about = (kind) => (item, fields) => {
    if (item !== undefined && item !== null && item !== "") return record(kind, { ...fields, item: String(item) });
    totals.rejected += 1;
    warn(`\`${kind}\` needs an item`);
    return null;
  };

  const methods = {
    pageview: (fields) => record("pageview", fields),
    detail: about("detail"), // ("sku", { price, currency }): an item's page was opened
    click: about("click"), //   ("sku"): an item was clicked in a list
    add: about("add"), //       ("sku", { price, quantity, currency }): into the cart
    remove: about("remove"), // ("sku", { quantity }): out of the cart
    /** `purchase([{ item, price, quantity }], { currency, transaction })`: one event per line of the order. */
    purchase: (lines, order) => [].concat(lines || []).map((line) => about("purchase")(line.item, { ...order, ...line })),
    search: (query, fields) => record("search", { ...fields, query: String(query) }),
    /** `custom("newsletter", { … })`: anything else; the fields live on in the payload. */
    custom: (name, fields) => record("custom", { ...fields, name: String(name) }),
    /** The shopper's choice, remembered; `false` also forgets. What was done before is not recorded. */
    consent(given) {
      const before = allowed();
      if (!given) methods.forget();
      put("consent", given ? "yes" : "no");
      emit("consent", { given: Boolean(given) });
      if (given && !before && config.pageview) methods.pageview();
    },
    /** Removes ids and queue from this browser, but a refusal; returns the client id, to erase what is stored elsewhere. */
    forget() {
      const id = get("client");
      SMALL.concat(names("")).filter((name) => name !== "consent" || get(name) !== "no").forEach(remove);
      emit("forgotten", { client: id });
      return id;
    },
    /** Sends now what is queued, as far as the collector allows. */
    flush,
    /** Ids, numbers of events (`sent`, `rejected` and `withheld` are those of this page) and the last answer. */
    status: () => ({
      consent: allowed(), client: get("client"), session: getJson("session", { id: null }).id,
      queued: names("event.").length, dropped: Number(get("dropped")) || 0, ...totals,
      lastAnswer, retryAt: getJson("retry", { at: null }).at,
    }),
  };

  function init(options) {
    if (!options || !options.endpoint) return warn("`init` needs an endpoint");
    config = { ...DEFAULTS, ...options };
    if (config.pageview && allowed()) methods.pageview();
    if (names("event.").length) schedule(config.delay); // Left by another page.
  }

  /** A method that never throws into the page. */
  const guarded = (name, method) => (...args) => {
    try {
      if (config || name === "init") return method(...args);
      warn(`\`${name}\` was called before \`init\`, and ignored`);
    } catch (error) { warn(`\`${name}\` failed`, error); }
    return null;
  };

  const waiting = window.reco || [];
  const unknown = (name) => () => warn(`there is no method \`${name}\``);
  const reco = { push: (...calls) => calls.forEach(([name, ...args]) => (reco[name] || unknown(name))(...args)) };
  for (const [name, method] of Object.entries({ init, ...methods })) reco[name] = guarded(name, method);
  window.reco = reco;

  const leave = () => config && guarded("beacon", beacon)();
  window.addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", () => { if (document.visibilityState === "hidden") leave(); });

  const script = document.currentScript;
  if (script && script.dataset.endpoint) {
    const options = {};
    for (const [name, otherwise] of Object.entries(DEFAULTS)) {
      const value = script.dataset[name], type = typeof otherwise;
      if (value === undefined || type === "function") continue;
      options[name] = type === "number" ? Number(value) : type === "boolean" ? value !== "false" : value;
    }
    reco.init(options);
  }
  reco.push(...waiting);
})();
