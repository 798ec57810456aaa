// Around the picture: keys, zoom, search, facts of one module, paper.

const MOST_NAMED = 80; // modules on a line of facts

/** Where a key leads: an item to go to, null where the key has done its work, undefined for others. */
function keyMove(key, item, visible, toggle, choose) {
  const at = visible.indexOf(item);
  switch (key) {
    case "ArrowDown":
      return visible[at + 1] ?? null;
    case "ArrowUp":
      return visible[at - 1] ?? null;
    case "Home":
      return visible[0];
    case "End":
      return visible[visible.length - 1];
    case "ArrowRight":
      if (item.children.length && !item.open) {
        toggle(item);
        return null;
      }
      return item.children[0] ?? null;
    case "ArrowLeft":
      if (item.children.length && item.open) {
        toggle(item);
        return null;
      }
      return item.parent;
    case "Enter":
    case " ":
      (item.node ? choose : toggle)(item);
      return null;
    default:
      return undefined;
  }
}

/** Scale and place of `world` in `canvas`, changed by buttons, wheel, keyboard and dragging. */
function movableView(canvas, world, layout) {
  const at = { scale: 1, x: 12, y: 12, moved: false };
  const apply = () => {
    world.setAttribute("transform", `translate(${at.x} ${at.y}) scale(${at.scale})`);
  };
  const zoom = (factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) => {
    const scale = Math.min(CLOSEST, Math.max(0.05, at.scale * factor));
    at.x = x - ((x - at.x) * scale) / at.scale;
    at.y = y - ((y - at.y) * scale) / at.scale;
    at.scale = scale;
    apply();
  };
  const fit = () => {
    const { width, height } = layout();
    const room = canvas.parentElement.clientWidth;
    const coarse = matchMedia("(pointer: coarse)").matches;
    const tallest = coarse ? 2400 : Math.max(360, innerHeight * 0.8);
    const whole = Math.min((room - 24) / (width + 90), (tallest - 24) / height);
    at.scale = Math.min(1, Math.max(0.62, whole));
    at.x = 12;
    at.y = 12;
    canvas.style.height = `${Math.min(tallest, Math.max(120, height * at.scale + 30))}px`;
    apply();
  };
  const show = (item) => {
    // How far a stretch must move to lie between 8 and the room's end; its start comes first.
    const shift = (start, size, room) => Math.max(8 - start, Math.min(0, room - 8 - start - size));
    at.x += shift(at.x + item.x * at.scale, item.width * at.scale, canvas.clientWidth);
    at.y += shift(at.y + item.y * at.scale, BOX * at.scale, canvas.clientHeight);
    apply();
  };

  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey || canvas.contains(document.activeElement)) {
      event.preventDefault();
      const box = canvas.getBoundingClientRect();
      zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX - box.left, event.clientY - box.top);
    }
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    const keys = { "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: fit };
    if (event.shiftKey && step[event.key]) {
      at.x += step[event.key][0];
      at.y += step[event.key][1];
      apply();
    } else if (keys[event.key] && !event.ctrlKey && !event.metaKey) {
      keys[event.key]();
    } else {
      return;
    }
    event.preventDefault();
  });
  let from = null;
  canvas.addEventListener("pointerdown", (event) => {
    from = event.button === 0 ? { x: event.clientX - at.x, y: event.clientY - at.y } : null;
    at.moved = false;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!from) {
      return;
    }
    const [x, y] = [event.clientX - from.x, event.clientY - from.y];
    if (!at.moved && Math.hypot(x - at.x, y - at.y) > 4) {
      at.moved = true;
      canvas.setPointerCapture(event.pointerId);
    }
    if (at.moved) {
      at.x = x;
      at.y = y;
      apply();
    }
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, () => {
      from = null;
    });
  }
  return { zoom, fit, show, moved: () => at.moved };
}

function zoomButtons(view, again) {
  const button = (text, name, pressed) =>
    element("button", { type: "button", "aria-label": name, title: name, onclick: pressed }, text);
  return [
    button("+", "Zoom in", () => view.zoom(1.25)),
    button("−", "Zoom out", () => view.zoom(0.8)),
    button("Fit", "Fit the picture into its box", view.fit),
    button("Reset", "Close what was opened", again),
  ];
}

/** A search that marks what it finds, opens what hides it, and goes to the next on Enter. */
function graphSearch(tree, state, status, redraw, view) {
  let found = [];
  let next = 0;
  const [label, input] = searchField("Find a module", (query) => {
    const wanted = query.trim().toLowerCase();
    const modules = tree.items.filter((item) => item.node);
    found = wanted
      ? modules.filter(({ node }) => `${node.path} ${node.label}`.toLowerCase().includes(wanted))
      : [];
    next = 0;
    if (found.length <= MOST_OPENED) {
      found.forEach(reveal);
    }
    state.hits = new Set(found.map(shownFor));
    status.textContent = wanted ? counted(found.length, "module") : "";
    redraw(false);
    if (found.length) {
      view.show(shownFor(found[0]));
    }
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && found.length) {
      const item = found[next];
      reveal(item);
      state.hits.add(item);
      redraw(false);
      view.show(item);
      status.textContent = `${next + 1} of ${found.length}: ${item.node.label}`;
      next = (next + 1) % found.length;
    }
  });
  return label;
}

/** Everything that is known about one module, with buttons that lead to others. */
function details(graph, item, neededBy, go) {
  if (!item.node) {
    return [];
  }
  const node = item.node;
  const rows = [["Path", node.path], ["Kind", node.kind]];
  if (node.marks.length) {
    rows.push(["Stands out", node.marks.map(([text]) => text).join(", ")]);
  }
  const list = element("dl", { class: "facts" });
  const add = (name, ...values) =>
    list.append(element("div", {}, element("dt", {}, name), element("dd", {}, ...values)));
  rows.forEach(([name, value]) => add(name, element("code", {}, value)));
  const link = (at) =>
    element("button", { type: "button", onclick: () => go(at) }, graph.nodes[at].label);
  const lost = (from, to) => graph.lost.filter((pair) => pair[from] === item.place).map((pair) => pair[to]);
  const relations = [
    ["Brought in by", node.parent === null ? [] : [node.parent]],
    ["Needs", node.needs],
    ["Needed by", neededBy[item.place]],
    ["Loses symbols to", lost(0, 1)],
    ["Wins symbols from", lost(1, 0)],
  ];
  for (const [name, places] of relations) {
    if (places.length) {
      const more = places.length - MOST_NAMED;
      add(name, ...places.slice(0, MOST_NAMED).map(link), more > 0 ? `and ${more} more` : "");
    }
  }
  return [element("h3", {}, node.label), list];
}

/** On paper the whole picture is on one page, as it is opened on the screen. */
function printWhole(canvas, world, state) {
  let height = "";
  let transform = "";
  addEventListener("beforeprint", () => {
    height = canvas.style.height;
    transform = world.getAttribute("transform");
    canvas.style.height = "";
    world.setAttribute("transform", "translate(4 4)");
    canvas.setAttribute("viewBox", `0 0 ${state.layout.width + 90} ${state.layout.height + 12}`);
  });
  addEventListener("afterprint", () => {
    canvas.style.height = height;
    world.setAttribute("transform", transform);
    canvas.removeAttribute("viewBox");
  });
}
