// Who loaded whom, as items in rows and columns. Nothing here draws.

const LETTER = 7.25; // pixels that a letter of the style's 12 px type takes
const SMALL_LETTER = 6.65;
const LINE = 30;
const BOX = 24;
const GAP = 64; // between two columns: room for the lines
const LONGEST = 40; // letters of a label

/** Items of modules and groups. Returns {roots, items, byNode: the item of each module}. */
function buildTree(graph) {
  const items = [];
  const byNode = [];
  const make = (child, parent) => {
    const group = typeof child === "object";
    const node = group ? null : graph.nodes[child];
    const item = { id: items.length, parent, node, place: group ? -1 : child, children: [] };
    items.push(item);
    if (!group) {
      byNode[child] = item;
    }
    const inside = group ? child.children : (graph.children[child] ?? []);
    item.children = inside.map((each) => make(each, item));
    item.size = item.children.reduce((sum, each) => sum + each.size, group ? 0 : 1);
    item.label = shortened(group ? child.label : node.label);
    item.title = group ? child.label : node.path;
    item.edge = group ? item.children[0].edge : node.edge;
    item.marks = group ? groupMarks(item) : node.marks;
    item.open = opened(item, graph.open);
    return item;
  };
  const roots = (graph.children[-1] ?? []).map((child) => make(child, null));
  return { roots, items, byNode };
}

/** Whether an item shows at first what is below it. */
function opened(item, everything) {
  return everything || (item.node !== null && item.node.notable);
}

/** What stands out in a group, counted. */
function groupMarks(item) {
  const marked = (each) =>
    (each.node?.marks.length ? 1 : 0) + each.children.reduce((sum, inner) => sum + marked(inner), 0);
  const count = marked(item);
  return count ? [[`${count} marked`, "plain"]] : [];
}

/** The middle left out: both ends of a name tell it from others. */
function shortened(label) {
  if (label.length <= LONGEST) {
    return label;
  }
  const half = Math.floor(LONGEST / 2) - 1;
  return `${label.slice(0, half)}…${label.slice(-half)}`;
}

/** Gives each visible item x, y, width and level; returns {visible, width, height}. */
function layTree(roots) {
  const visible = [];
  const widths = [];
  let line = 0;
  const visit = (item, level) => {
    visible.push(item);
    item.level = level;
    item.width = boxWidth(item);
    widths[level] = Math.max(widths[level] ?? 0, item.width);
    item.y = line * LINE;
    if (item.open && item.children.length) {
      item.children.forEach((child) => visit(child, level + 1));
    } else {
      line += 1;
    }
  };
  roots.forEach((root) => visit(root, 0));
  const starts = [0];
  widths.forEach((width, level) => starts.push(starts[level] + width + GAP));
  for (const item of visible) {
    item.x = starts[item.level];
  }
  return { visible, width: starts[starts.length - 1] - GAP, height: line * LINE };
}

function boxWidth(item) {
  const marks = item.marks.reduce((sum, [text]) => sum + text.length * SMALL_LETTER + 10, 0);
  const handle = item.children.length ? 22 : 0;
  return Math.ceil(item.label.length * LETTER + marks + handle + 18);
}

/** The item itself, or the closed one that hides it. */
function shownFor(item) {
  let shown = item;
  for (let above = item.parent; above; above = above.parent) {
    if (!above.open) {
      shown = above;
    }
  }
  return shown;
}

/** Opens all that hides an item. */
function reveal(item) {
  for (let above = item.parent; above; above = above.parent) {
    above.open = true;
  }
}

/** The line from an item to one that it brought in: along, down, along. */
function branch(from, to) {
  const startX = from.x + from.width;
  const startY = from.y + BOX / 2;
  const endY = to.y + BOX / 2;
  const bend = to.x - GAP / 2;
  if (startY === endY) {
    return `M${startX} ${startY}H${to.x}`;
  }
  const round = Math.min(8, endY - startY);
  return (
    `M${startX} ${startY}H${bend - round}Q${bend} ${startY} ${bend} ${startY + round}` +
    `V${endY - round}Q${bend} ${endY} ${bend + round} ${endY}H${to.x}`
  );
}

/** A curve between any two items: to a column before it through the gap, else around on the right. */
function arc(from, to) {
  if (to.x + to.width < from.x) {
    const [left, right] = [from.x - GAP / 2, to.x + to.width + GAP / 2];
    const [top, bottom] = [from.y + BOX * 0.7, to.y + BOX * 0.7];
    return `M${from.x} ${top}C${left} ${top} ${right} ${bottom} ${to.x + to.width + 3} ${bottom}`;
  }
  const [startX, startY] = [from.x + from.width, from.y + BOX / 2];
  const [endX, endY] = [to.x + to.width + 3, to.y + BOX / 2];
  const out = Math.max(startX, endX) + 26 + Math.min(60, Math.abs(endY - startY) / 6);
  return `M${startX} ${startY}C${out} ${startY} ${out} ${endY} ${endX} ${endY}`;
}
