// The picture of who loaded whom: drawing it, moving about in it, searching it.

const LEGEND = [
  ["needed", "needed"],
  ["dlopened", "dlopened"],
  ["unknown", "by whom is not known"],
  ["preloaded", "preloaded"],
  ["unloaded", "is gone"],
  ["loss", "loses a symbol to"],
  ["way", "on the crash path"],
];
const SPOKEN = { unknown: "by whom is not known", system: "mapped by the kernel" };
const MOST_LOSSES = 60;
const MOST_OPENED = 60; // hits of a search whose groups are opened
const CLOSEST = 2.5;

function drawGraph(place, graph) {
  const tree = buildTree(graph);
  const neededBy = graph.nodes.map(() => []);
  graph.nodes.forEach((node, at) => node.needs.forEach((need) => neededBy[need].push(at)));
  const state = { focus: tree.roots[0], chosen: null, hits: new Set(), every: false, layout: null };
  const world = shape("g", { role: "tree", "aria-label": "Who loaded whom" });
  const about = { class: "canvas", role: "group", "aria-label": "Picture of who loaded whom" };
  const canvas = shape("svg", about, arrows(), world);
  const view = movableView(canvas, world, () => state.layout);
  const panel = element("div", { class: "panel", "aria-live": "polite" });
  const status = element("span", { role: "status", class: "note" });

  const draw = (item) => itemShape(item, state);
  const redraw = (focusAgain) => {
    state.layout = layTree(tree.roots);
    if (!state.layout.visible.includes(state.focus)) {
      state.focus = shownFor(state.focus);
    }
    world.replaceChildren(...edgesOf(graph, tree, state), ...state.layout.visible.map(draw));
    if (focusAgain) {
      world.querySelector('[tabindex="0"]').focus({ preventScroll: true });
      view.show(state.focus);
    }
  };

  const toggle = (item) => {
    item.open = item.children.length > 0 && !item.open;
    state.focus = item;
    redraw(true);
  };

  const choose = (item) => {
    state.chosen = item;
    state.focus = item;
    redraw(true);
    panel.replaceChildren(...details(graph, item, neededBy, (node) => {
      const next = tree.byNode[node];
      reveal(next);
      choose(next);
    }));
  };

  const itemOf = (event) => {
    const found = event.target.closest("[data-item]");
    return found && tree.items[Number(found.dataset.item)];
  };
  world.addEventListener("click", (event) => {
    const item = itemOf(event);
    if (item && !view.moved()) {
      const onHandle = event.target.closest(".handle") || !item.node;
      (onHandle ? toggle : choose)(item);
    }
  });
  world.addEventListener("keydown", (event) => {
    const item = itemOf(event);
    if (item && !event.ctrlKey && !event.metaKey && !event.altKey && !event.shiftKey) {
      const next = keyMove(event.key, item, state.layout.visible, toggle, choose);
      if (next !== undefined) {
        event.preventDefault();
        if (next) {
          state.focus = next;
          redraw(true);
        }
      }
    }
  });

  const find = graphSearch(tree, state, status, redraw, view);
  const every = element("input", { type: "checkbox" });
  every.addEventListener("change", () => {
    state.every = every.checked;
    redraw(false);
  });
  const again = () => {
    tree.items.forEach((item) => {
      item.open = opened(item, graph.open);
    });
    redraw(false);
    view.fit();
  };
  const tools = element("div", { class: "tools" }, find, status, ...zoomButtons(view, again),
    element("label", {}, every, "Show every dependency"));
  place.append(tools, canvas, legend(graph), element("p", { class: "note" }, HINT), panel);
  redraw(false);
  view.fit();
  printWhole(canvas, world, state);
}

const HINT =
  "Drag to move; Ctrl and the wheel, or + and − on the keyboard, zoom. Arrow keys go from module to " +
  "module and open groups; Enter shows a module's facts.";

/** What a screen reader says: name, marks, how it came in, how many are below. */
function spoken(item) {
  const words = [item.node ? item.node.label : item.title, ...item.marks.map(([text]) => text)];
  if (item.edge && item.edge !== "unloaded") {
    words.push(SPOKEN[item.edge] ?? item.edge);
  }
  if (item.children.length) {
    words.push(`${counted(item.size, "module")} in all`);
  }
  return words.join(", ");
}

/** One module or group: what it is for a reader, for a listener and for the keyboard. */
function itemShape(item, state) {
  const kinds = item.marks.map(([, kind]) => kind);
  const strongest = ["crash", "gone", "lost"].find((kind) => kinds.includes(kind));
  const found = state.hits.size ? (state.hits.has(item) ? "hit" : "dim") : "";
  const chosen = item === state.chosen;
  const classes = ["item", item.node ? "" : "group", strongest ?? "", found, chosen ? "chosen" : ""];
  const settings = {
    class: classes.filter((name) => name).join(" "),
    transform: `translate(${item.x} ${item.y})`,
    role: "treeitem",
    tabindex: item === state.focus ? 0 : -1,
    "data-item": item.id,
    "aria-level": item.level + 1,
    "aria-expanded": item.children.length ? String(item.open) : null,
    "aria-selected": String(chosen),
    "aria-label": spoken(item),
  };
  return shape("g", settings, shape("title", {}, item.title), ...boxShapes(item));
}

function boxShapes(item) {
  const made = [];
  if (!item.node) {
    made.push(shape("rect", { x: 4, y: 4, width: item.width, height: BOX, rx: 5 }));
  }
  made.push(shape("rect", { width: item.width, height: BOX, rx: 5 }));
  made.push(shape("text", { class: "label", x: 9, y: 16 }, item.label));
  let x = 9 + item.label.length * LETTER + 8;
  for (const [text, kind] of item.marks) {
    made.push(shape("text", { class: `mark ${kind}`, x, y: 16 }, text));
    x += text.length * SMALL_LETTER + 10;
  }
  if (item.children.length) {
    const middle = item.width - 13;
    const sign = `M${middle - 4} 12h8` + (item.open ? "" : `M${middle} 8v8`);
    made.push(
      shape("g", { class: "handle" },
        shape("circle", { cx: middle, cy: 12, r: 8, fill: "transparent" }),
        shape("path", { d: sign, class: "edge" })),
    );
  }
  return made;
}

/** All lines: who brought in whom, the crash path, lost symbols, and needs that were asked for. */
function edgesOf(graph, tree, state) {
  const made = [];
  for (const item of state.layout.visible) {
    if (item.parent) {
      const crash = crashBelow(item) ? " way" : "";
      made.push(shape("path", { class: `edge ${item.edge}${crash}`, d: branch(item.parent, item) }));
    }
  }
  const line = (from, to, kind, arrow) => {
    const [start, end] = [shownFor(tree.byNode[from]), shownFor(tree.byNode[to])];
    const key = `${kind} ${start.id} ${end.id}`;
    if (start !== end && !drawn.has(key)) {
      drawn.add(key);
      made.push(shape("path", { class: `edge ${kind}`, d: arc(start, end), "marker-end": arrow }));
    }
  };
  const drawn = new Set();
  const chosen = state.chosen?.place ?? -1;
  graph.nodes.forEach((node, at) => {
    for (const need of node.needs) {
      if (at === chosen || need === chosen) {
        line(at, need, "need", "url(#needs)");
      } else if (state.every) {
        line(at, need, "every", null);
      }
    }
  });
  for (const [loser, winner] of graph.lost) {
    const shown = state.chosen ? [loser, winner].includes(chosen) : graph.lost.length <= MOST_LOSSES;
    if (shown) {
      line(loser, winner, "loss", "url(#loses)");
    }
  }
  return made;
}

/** Whether an item or something below it is on the crashing stack. */
function crashBelow(item) {
  item.crash ??=
    Boolean(item.node?.marks.some(([, kind]) => kind === "crash")) || item.children.some(crashBelow);
  return item.crash;
}

function arrows() {
  const size = { viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 6, markerHeight: 6 };
  const arrow = (id, kind) =>
    shape("marker", { id, class: kind, orient: "auto", ...size },
      shape("path", { d: "M0 0L8 4L0 8Z" }));
  return shape("defs", {}, arrow("loses", ""), arrow("needs", "needs"));
}

/** The lines that this picture has, and what they mean. */
function legend(graph) {
  const kinds = new Set(graph.nodes.map((node) => node.edge));
  const crash = graph.nodes.some((node) => node.marks.some(([, kind]) => kind === "crash"));
  const shown = LEGEND.filter(
    ([kind]) => kinds.has(kind) || (kind === "loss" && graph.lost.length) || (kind === "way" && crash),
  );
  const entries = shown.map(([kind, text]) => {
    const sample = shape("svg", { viewBox: "0 0 34 14", "aria-hidden": "true" },
      shape("path", { class: `edge ${kind}`, d: "M1 7H33" }));
    return element("li", {}, sample, text);
  });
  return element("ul", { class: "legend", "aria-label": "What the lines mean" }, ...entries);
}
