// All slots: tens of thousands of rows, of which only those in view exist.

const ROW = 28; // pixels; report.css says the same
const MORE = 12; // rows that are made above and below the view
const ROWS_AT_MOST = 1 << 21; // so that a rank and a row fit into one exact number
const SLOT_COLUMNS = [
  ["verdict", "Verdict", 8.5],
  ["symbol", "Symbol", 21],
  ["module", "Module", 14],
  ["leads", "Leads to", 17],
  ["expected", "Should lead to", 14.5],
  ["state", "State", 6],
  ["address", "Address", 11],
  ["value", "Value", 11],
  ["type", "Type", 15],
  ["reason", "Reason", 24],
];

/** Each column as places in a list of strings: {places: Uint32Array, strings}. */
function unpackSlots(packed) {
  const size = packed.address.length;
  const addresses = [];
  let before = 0n;
  for (const step of packed.address) {
    before = typeof step === "string" ? BigInt(step) : before + BigInt(step);
    addresses.push(`0x${before.toString(16)}`);
  }
  const modules = new Uint32Array(size);
  let row = 0;
  for (const [path, count] of packed.modules) {
    modules.fill(path, row, row + count);
    row += count;
  }
  const columns = {
    address: { places: Uint32Array.from(addresses.keys()), strings: addresses },
    module: { places: modules, strings: packed.strings },
  };
  for (const [key] of SLOT_COLUMNS) {
    columns[key] ??= { places: Uint32Array.from(packed[key]), strings: packed.strings };
  }
  return { size, columns, strings: packed.strings, lower: null };
}

/** The rank of each string that a column uses; equal texts share one. Worked out once. */
function ranks(column) {
  if (!column.ranks) {
    const used = [...new Set(column.places)];
    const keys = used.map((place) => sortKey(column.strings[place]));
    const order = new Map();
    // Without a function of ours the engine compares strings itself, which is much faster.
    [...keys].sort().forEach((key, rank) => order.has(key) || order.set(key, rank));
    column.ranks = new Uint32Array(column.strings.length);
    used.forEach((place, at) => {
      column.ranks[place] = order.get(keys[at]);
    });
  }
  return column.ranks;
}

/** The rows that hold every word of the query and have a verdict that is wanted, in their order. */
function matchingRows(model, query, wanted) {
  const words = query.toLowerCase().split(/\s+/).filter((word) => word);
  const found = new Uint32Array(model.size);
  const tests = words.map((word) => wordTest(model, word));
  const { places, strings } = model.columns.verdict;
  let count = 0;
  for (let row = 0; row < model.size; row += 1) {
    if (wanted(strings[places[row]]) && tests.every((test) => test(row))) {
      found[count] = row;
      count += 1;
    }
  }
  return found.subarray(0, count);
}

/** Looks at each different string once, then at numbers alone. */
function wordTest(model, word) {
  model.lower ??= model.strings.map((text) => text.toLowerCase());
  const holds = Uint8Array.from(model.lower, (text) => (text.includes(word) ? 1 : 0));
  const columns = SLOT_COLUMNS.filter(([key]) => key !== "address").map(
    ([key]) => model.columns[key].places,
  );
  const addresses = /^(0x)?[0-9a-f]+$/.test(word) ? model.columns.address.strings : null;
  return (row) =>
    columns.some((places) => holds[places[row]]) || Boolean(addresses?.[row].includes(word));
}

/** `rows` by one column; rows that are equal there stay as they were. */
function sortedRows(model, rows, key, ascending) {
  const column = model.columns[key];
  const rank = ranks(column);
  const last = column.strings.length;
  const keys = Float64Array.from(rows, (row) => {
    const own = rank[column.places[row]];
    return (ascending ? own : last - own) * ROWS_AT_MOST + row;
  });
  return Uint32Array.from(keys.sort(), (value) => value % ROWS_AT_MOST);
}

function slotTable(place, packed) {
  const model = unpackSlots(packed);
  const state = { query: "", verdict: "", key: "", ascending: true, rows: null, chosen: -1 };
  const status = element("span", { role: "status", class: "note" });
  const panel = element("div", { class: "panel", "aria-live": "polite" });
  const body = element("tbody");
  const heads = SLOT_COLUMNS.map(([, title]) => element("th", { scope: "col" }, title));
  const sizes = SLOT_COLUMNS.map(([, , width]) => element("col", { "data-width": width }));
  const all = SLOT_COLUMNS.reduce((sum, [, , width]) => sum + width, 0);
  sizes.forEach((col) => {
    col.style.width = `${(100 * col.dataset.width) / all}%`;
  });
  const table = element(
    "table",
    { "aria-labelledby": "all-slots-title" },
    element("colgroup", {}, ...sizes),
    element("thead", {}, element("tr", { "aria-rowindex": 1 }, ...heads)),
    body,
  );
  const viewport = element(
    "div",
    { class: "viewport", tabindex: 0, role: "region", "aria-labelledby": "all-slots-title" },
    table,
  );

  const work = () => {
    const wanted = (verdict) =>
      !state.verdict || (state.verdict === "not ok" ? verdict !== "ok" : verdict === state.verdict);
    const found = matchingRows(model, state.query, wanted);
    state.rows = state.key ? sortedRows(model, found, state.key, state.ascending) : found;
    state.chosen = -1;
    panel.replaceChildren();
    viewport.scrollTop = 0;
    status.textContent = `${found.length.toLocaleString("en")} of ${counted(model.size, "slot")}`;
    draw();
  };

  const draw = () => {
    const first = Math.max(0, Math.floor(viewport.scrollTop / ROW) - MORE);
    const inView = Math.ceil(viewport.clientHeight / ROW) + 2 * MORE;
    const end = Math.min(state.rows.length, first + inView);
    const made = [];
    for (let order = first; order < end; order += 1) {
      made.push(slotRow(model, state.rows[order], order, order === state.chosen));
    }
    table.setAttribute("aria-rowcount", state.rows.length + 1);
    body.replaceChildren(spacer(first), ...made, spacer(state.rows.length - end));
  };

  const choose = (order) => {
    if (!state.rows.length) {
      return;
    }
    state.chosen = Math.min(Math.max(order, 0), state.rows.length - 1);
    const top = state.chosen * ROW;
    const room = viewport.clientHeight - table.tHead.offsetHeight - ROW;
    viewport.scrollTop = Math.min(Math.max(viewport.scrollTop, top - room), top);
    draw();
    panel.replaceChildren(...slotDetails(model, state.rows[state.chosen]));
  };

  const page = () => Math.max(1, Math.floor(viewport.clientHeight / ROW) - 2);
  const moves = {
    ArrowDown: () => state.chosen + 1,
    ArrowUp: () => state.chosen - 1,
    PageDown: () => state.chosen + page(),
    PageUp: () => state.chosen - page(),
    Home: () => 0,
    End: () => state.rows.length - 1,
  };
  viewport.addEventListener("keydown", (event) => {
    if (event.target === viewport && moves[event.key] && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      choose(moves[event.key]());
    }
  });
  viewport.addEventListener("scroll", draw, { passive: true });
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr[aria-rowindex]");
    if (row) {
      choose(Number(row.getAttribute("aria-rowindex")) - 2);
    }
  });
  sortButtons(heads, (column, ascending) => {
    state.key = SLOT_COLUMNS[column][0];
    state.ascending = ascending;
    work();
  });
  const [search] = searchField("Search", (query) => {
    state.query = query;
    work();
  });
  search.querySelector("input").setAttribute("aria-label", "Search all slots");
  const choice = verdictChoice(model, (verdict) => {
    state.verdict = verdict;
    work();
  });
  place.append(element("div", { class: "tools" }, search, choice, status), viewport, panel);
  work();
  new ResizeObserver(draw).observe(viewport);
}

function verdictChoice(model, changed) {
  const { places, strings } = model.columns.verdict;
  const counts = new Map();
  for (const place of places) {
    counts.set(strings[place], (counts.get(strings[place]) ?? 0) + 1);
  }
  const wrong = model.size - (counts.get("ok") ?? 0);
  const entries = [["", "all", model.size], ["not ok", "not ok", wrong]];
  for (const verdict of [...counts.keys()].sort()) {
    entries.push([verdict, verdict, counts.get(verdict)]);
  }
  const options = entries.map(([value, title, count]) =>
    element("option", { value }, `${title} (${count.toLocaleString("en")})`),
  );
  const select = element("select", { onchange: () => changed(select.value) }, ...options);
  return element("label", {}, "Verdict", select);
}

function slotRow(model, row, order, chosen) {
  const made = element("tr", { "aria-rowindex": order + 2, "aria-current": chosen && "true" });
  for (const [key] of SLOT_COLUMNS) {
    const text = slotText(model, row, key);
    const shown = key === "module" ? text.slice(text.lastIndexOf("/") + 1) : text;
    const code = ["symbol", "module", "leads", "expected", "address", "value"].includes(key);
    const cell = element("td", { title: text || null }, code ? element("code", {}, shown) : shown);
    if (key === "verdict" && text !== "ok") {
      const kind = text === "unverified" ? "plain" : "lost";
      cell.replaceChildren(element("span", { class: `badge ${kind}` }, text));
    }
    made.append(cell);
  }
  return made;
}

function slotText(model, row, key) {
  const column = model.columns[key];
  return column.strings[column.places[row]];
}

function slotDetails(model, row) {
  const list = element("dl", { class: "facts" });
  for (const [key, title] of SLOT_COLUMNS) {
    const text = slotText(model, row, key);
    if (text) {
      list.append(
        element("div", {}, element("dt", {}, title), element("dd", {}, element("code", {}, text))),
      );
    }
  }
  return [list];
}

function spacer(rows) {
  const cell = element("td", { colspan: SLOT_COLUMNS.length });
  cell.style.height = `${rows * ROW}px`;
  const row = element("tr", { class: "spacer", "aria-hidden": "true" }, cell);
  row.hidden = rows === 0;
  return row;
}
