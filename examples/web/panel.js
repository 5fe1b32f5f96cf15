/* The panel "What was sent": a window on what reco.js does, made of its `reco` events and `reco.status()`. */

(function () {
  const panel = document.getElementById("panel");
  panel.innerHTML = `
    <header>
      <h2>What was sent</h2>
      <p class="state" id="panel-state"></p>
      <dl>
        <div><dt>waiting</dt><dd data-count="queued">0</dd></div>
        <div><dt>delivered</dt><dd data-count="sent">0</dd></div>
        <div><dt>dropped</dt><dd data-count="dropped">0</dd></div>
        <div><dt>refused</dt><dd data-count="rejected">0</dd></div>
      </dl>
      <p class="ids" id="panel-ids"></p>
      <div class="actions">
        <button id="panel-flush">Send now</button>
        <button id="panel-forget" class="plain">Forget me</button>
        <button id="panel-consent" class="plain"></button>
      </div>
    </header>
    <ol></ol>
    <p class="empty">What you do in the shop appears here, as it is recorded and delivered.</p>`;
  const part = (name) => document.getElementById(`panel-${name}`);
  const list = panel.querySelector("ol");
  const fates = new Map(); // From an event's id to where the panel shows what became of it.

  const SHOWN = 60;

  addEventListener("reco", ({ detail }) => {
    if (detail.type === "recorded") show(detail.event);
    if (detail.type === "answered") detail.ids.forEach((id) => mark(id, ...fateOf(detail)));
    if (detail.type === "beaconed") detail.ids.forEach((id) => mark(id, "beacon", "warn"));
    if (detail.type === "dropped") detail.ids.forEach((id) => mark(id, "dropped", "bad"));
    if (detail.type === "forgotten") list.replaceChildren();
    refresh();
  });

  function fateOf({ status, kept }) {
    if (kept) return [status ? `${status} ↻` : "offline ↻", "warn"];
    return status < 300 ? [`${status} ✓`, "good"] : [`${status} ✗`, "bad"];
  }

  function mark(id, text, tone) {
    const fate = fates.get(id);
    if (fate) Object.assign(fate, { textContent: text, className: `fate ${tone}` });
  }

  function show(event) {
    const row = document.createElement("li");
    row.innerHTML = `<details><summary><span class="kind"></span><span class="what"></span><span class="fate">waiting</span></summary><pre></pre></details>`;
    row.querySelector(".kind").textContent = event.kind;
    row.querySelector(".what").textContent = event.item || event.query || event.name || event.title;
    row.querySelector("pre").textContent = JSON.stringify(event, null, 1);
    fates.set(event.id, row.querySelector(".fate"));
    list.prepend(row);
    while (list.children.length > SHOWN) list.lastChild.remove();
  }

  function refresh() {
    const status = reco.status();
    if (!status) return; // reco.js has said why in the console.
    for (const count of panel.querySelectorAll("[data-count]")) count.textContent = status[count.dataset.count];
    const [text, tone] = stateOf(status);
    Object.assign(part("state"), { textContent: text, className: `state ${tone}` });
    const short = (id) => (id ? `${id.slice(0, 8)}…` : "none");
    part("ids").textContent = `client ${short(status.client)} · session ${short(status.session)}`;
    part("consent").textContent = status.consent ? "Withdraw consent" : "Agree";
    part("flush").hidden = part("forget").hidden = !status.consent;
    panel.querySelector(".empty").hidden = list.children.length > 0;
  }

  function stateOf({ consent, lastAnswer, retryAt }) {
    if (!consent) return ["No consent: nothing is stored or sent.", ""];
    const seconds = Math.ceil((retryAt - Date.now()) / 1000);
    const again = seconds > 0 ? ` Next try in ${seconds} s.` : "";
    if (!lastAnswer) return [`No answer yet.${again}`, ""];
    const { status, events } = lastAnswer;
    const some = `${events} event${events === 1 ? "" : "s"}`;
    if (status === 0) return [`The collector cannot be reached; ${some} kept.${again}`, "warn"];
    if (status < 300) return [`The collector has stored ${some} (${status}).`, "good"];
    return retryAt ? [`The collector answered ${status}; ${some} kept.${again}`, "warn"] : [`The collector refused ${some} (${status}).`, "bad"];
  }

  part("flush").onclick = () => reco.flush();
  part("forget").onclick = () => reco.forget();
  part("consent").onclick = () => dispatchEvent(new CustomEvent("shop-consent", { detail: !reco.status().consent }));
  setInterval(refresh, 500); // Counts down to the next try.
  refresh();
})();
