
"use strict";
(() => {
  const tables = JSON.parse(document.getElementById("model").textContent).tables;
  const panel = document.getElementById("panel"), search = document.getElementById("search");
  const nodes = [...document.querySelectorAll(".table")], edges = [...document.querySelectorAll(".edge")];
  const position = new Map(tables.map((table, i) => [table.table, i]));
  const reads = tables.map(table => table.inputs.map(input => position.get(input)).filter(i => i !== undefined));
  const readBy = tables.map((_, i) => tables.map((_, j) => j).filter(j => reads[j].includes(i)));
  const number = n => n.toString().replace(/\B(?=(\d{3})+$)/g, "\u2009");
  const word = { declared: "declared", built: "✓ built", warned: "! warned", reused: "= reused", deferred: "· deferred", failed: "✗ failed", skipped: "– skipped" };

  // Text is only ever set as text.
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "onclick") element.addEventListener("click", value); else element.setAttribute(key, value);
    }
    element.append(...children.filter(child => child !== null && child !== undefined));
    return element;
  };
  const key = (table, column) => JSON.stringify([table, column]);
  const origins = new Map();
  for (const table of tables) for (const column of table.columns) origins.set(key(table.table, column.column), column);

  // All that can be reached, nearest first.
  const reach = (start, next) => {
    const found = new Set(), queue = [start];
    for (let i = 0; i < queue.length; i++) for (const other of next(queue[i])) {
      if (!found.has(other) && other !== start) { found.add(other); queue.push(other); }
    }
    return [...found];
  };
  const goesInto = new Map();
  for (const [of, column] of origins) for (const from of column.values_from) {
    const name = key(from.table, from.column);
    goesInto.set(name, [...(goesInto.get(name) || []), of]);
  }
  const columnsUp = of => reach(of, at => (origins.get(at)?.values_from || []).map(from => key(from.table, from.column)));
  const columnsDown = of => reach(of, at => goesInto.get(at) || []);
  const tablesOf = columns => new Set(columns.map(column => position.get(JSON.parse(column)[0])));

  const mark = (chosen, up, down) => {
    const lit = new Set([...up, ...down]);
    if (chosen !== null) lit.add(chosen);
    nodes.forEach((node, i) => {
      node.classList.toggle("chosen", i === chosen);
      node.classList.toggle("up", chosen !== null && i !== chosen && up.has(i));
      node.classList.toggle("down", chosen !== null && i !== chosen && down.has(i));
      node.classList.toggle("dim", chosen !== null && !lit.has(i));
    });
    for (const edge of edges) {
      const from = +edge.dataset.from, to = +edge.dataset.to, isAudit = edge.classList.contains("audit");
      const isUp = !isAudit && up.has(from) && (to === chosen || up.has(to));
      const isDown = !isAudit && down.has(to) && (from === chosen || down.has(from));
      edge.classList.toggle("up", chosen !== null && isUp);
      edge.classList.toggle("down", chosen !== null && !isUp && isDown);
      edge.classList.toggle("dim", chosen !== null && !isUp && !isDown);
    }
  };

  const link = (text, table, column) => make("button", { type: "button", onclick: () => go(table, column) }, text);
  const columnLinks = columns => make("ul", {}, ...columns.map(column => {
    const [table, name] = JSON.parse(column);
    return make("li", {}, link(`${table}.${name}`, table, name));
  }));
  const section = (title, ...children) => [make("h3", {}, title), ...children];
  const row = (...cells) => make("tr", {}, ...cells);

  const overview = () => {
    const wanted = search.value.trim().toLowerCase();
    const isFound = table => !wanted || [table.table, ...(table.tags || []), ...table.columns.map(column => column.column)]
      .some(text => text.toLowerCase().includes(wanted));
    const found = tables.map(isFound);
    mark(null, new Set(), new Set());
    nodes.forEach((node, i) => node.classList.toggle("dim", !found[i]));
    const cells = tables.filter((_, i) => found[i]).map(table => row(
      make("td", {}, link(table.table, table.table)),
      make("td", {}, make("span", { class: `status ${table.status}` }, word[table.status])),
      make("td", { class: "n" }, table.n_rows === null ? "" : number(table.n_rows)),
      make("td", { class: "n" }, table.seconds === null ? "" : `${table.seconds.toFixed(1)} s`),
      make("td", { class: "n" }, table.age || "")));
    const head = ["Table", "Status", "Rows", "Time", "Newest"].map((text, i) => make("th", { scope: "col", class: i > 1 ? "n" : "" }, text));
    panel.replaceChildren(make("h2", { tabindex: "-1" }, wanted ? `${cells.length} found` : "Tables"), make("table", {}, row(...head), ...cells));
  };

  const fact = (name, value) => value === null || value === undefined || value === "" ? null : row(make("th", { scope: "row" }, name), make("td", {}, value));
  const check = result => make("li", { class: result.verdict },
    make("b", {}, `${result.verdict} `), result.check,
    result.passed ? null : make("span", { class: "faint" }, ` – ${number(result.n_failed)} of ${number(result.n_checked)} rows${result.note ? `, ${result.note}` : ""}`),
    result.samples.length ? make("pre", {}, result.samples.join("\n")) : null);

  const details = (i, chosen) => {
    const table = tables[i], of = chosen && key(table.table, chosen);
    const up = of ? columnsUp(of) : [], down = of ? columnsDown(of) : [];
    if (of) mark(i, tablesOf(up), tablesOf(down));
    else mark(i, new Set(reach(i, at => reads[at])), new Set(reach(i, at => readBy[at])));
    const names = (list, empty) => list.length ? make("span", {}, ...list.flatMap((name, n) => [n ? ", " : "", link(name, name)])) : empty;
    const parts = [
      make("p", { style: "margin:0 0 .5rem" }, make("button", { type: "button", onclick: () => go() }, "← All tables")),
      make("h2", { tabindex: "-1" }, table.table),
      make("p", { style: "margin:0 0 .5rem" }, make("span", { class: `status ${table.status}` }, word[table.status]), " ",
        ...(table.tags || []).map(tag => make("span", { class: "tag" }, tag))),
      table.reason ? make("pre", {}, table.reason) : null,
      make("table", {}, ...[
        fact("Made by", table.kind === "source" ? "read from elsewhere" : table.kind === "sql" ? "a query" : "a step in Rust"),
        fact("Kept in", table.materialization), fact("Version", table.version === null ? null : `${table.version}`),
        fact("Rows", table.n_rows === null ? null : number(table.n_rows)),
        fact("Time", table.seconds === null ? null : `${table.seconds.toFixed(3)} s`),
        fact("Newest", table.newest && (table.age ? `${table.newest}, ${table.age}` : table.newest)),
        fact("File", table.path), fact("Reads", names(table.inputs, null)), fact("Audited with", names(table.audited_with, null)),
        fact("Read by", names(readBy[i].map(j => tables[j].table), null))].filter(Boolean)),
    ];
    if (of) {
      const influences = origins.get(of).influenced_by.map(from => key(from.table, from.column));
      const rows = table.rows_influenced_by.map(from => key(from.table, from.column));
      parts.push(make("div", { id: "lineage" }, ...section(`Column ${chosen}: values from`, up.length ? columnLinks(up) : make("p", { class: "faint" }, "no column")),
        ...(influences.length ? section("Influenced by", columnLinks(influences)) : []),
        ...(rows.length ? section("Rows influenced by", columnLinks(rows)) : []),
        ...section("Goes into", down.length ? columnLinks(down) : make("p", { class: "faint" }, "no column"))));
    }
    const checks = table.checks.length ? table.checks.map(check) : table.expectations.map(text => make("li", { class: "faint" }, text));
    if (checks.length) parts.push(...section("Checks", make("ul", {}, ...checks)));
    if (table.columns.length) parts.push(...section("Columns", make("table", {}, ...table.columns.map(column => make("tr",
      column.column === chosen ? { "aria-current": "true" } : {},
      make("td", {}, link(column.column, table.table, column.column)), make("td", { class: "type" }, column.data_type))))));
    panel.replaceChildren(...parts.filter(Boolean));
    panel.scrollTop = 0;
  };

  // The address names what is shown, so that it can be sent to others and the way back works.
  const go = (table, column) => {
    const parts = [table, column].filter(part => part !== undefined).map(encodeURIComponent);
    location.hash = parts.join("/");
  };
  const show = () => {
    let table, column;
    try { [table, column] = location.hash.slice(1).split("/").map(decodeURIComponent); } catch { /* no address of ours */ }
    // What was clicked in the panel is gone with what it showed: whoever came by keyboard goes on there.
    const wasInPanel = panel.contains(document.activeElement);
    const i = position.get(table);
    if (i === undefined) overview(); else details(i, origins.has(key(table, column)) ? column : undefined);
    if (wasInPanel) panel.querySelector("h2").focus();
    nodes[i]?.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  addEventListener("hashchange", show);
  search.addEventListener("input", () => { if (location.hash.length > 1) go(); else overview(); });
  nodes.forEach((node, i) => {
    node.addEventListener("click", () => go(tables[i].table));
    node.addEventListener("keydown", event => {
      const beside = step => {
        const same = nodes.filter(other => other.getCTM().e === node.getCTM().e).sort((a, b) => a.getCTM().f - b.getCTM().f);
        return same[same.indexOf(node) + step];
      };
      const next = { ArrowLeft: () => nodes[reads[i][0]], ArrowRight: () => nodes[readBy[i][0]], ArrowUp: () => beside(-1), ArrowDown: () => beside(1) }[event.key];
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); go(tables[i].table); }
      else if (next) { event.preventDefault(); next()?.focus(); }
    });
  });
  addEventListener("keydown", event => {
    if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); }
    else if (event.key === "Escape") { search.value = ""; if (location.hash.length > 1) go(); else overview(); }
  });

  const count = status => tables.filter(table => table.status === status).length;
  const counts = [tables.length === 1 ? "1 table" : `${tables.length} tables`, ...["built", "warned", "reused", "deferred", "failed", "skipped"].filter(count).map(status => `${count(status)} ${status}`)];
  document.getElementById("counts").textContent = counts.join(" · ");
  show();
})();
