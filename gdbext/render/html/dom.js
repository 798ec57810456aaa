// Elements, made of names and text alone: nothing here reads HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. `settings` are attributes; `on…` ones are listeners. */
function element(name, settings = {}, ...children) {
  return furnish(document.createElement(name), settings, children);
}

/** An SVG element. */
function shape(name, settings = {}, ...children) {
  return furnish(document.createElementNS(SVG, name), settings, children);
}

function furnish(made, settings, children) {
  for (const [key, value] of Object.entries(settings)) {
    if (key.startsWith("on")) {
      made.addEventListener(key.slice(2), value);
    } else if (value !== null && value !== undefined && value !== false) {
      made.setAttribute(key, value === true ? "" : String(value));
    }
  }
  made.append(...children);
  return made;
}

/** `1 slot`, `2,000 slots`. */
function counted(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** What to compare when rows are sorted: numbers and addresses by value, words without case. */
function sortKey(text) {
  const word = text.trim();
  if (/^0x[0-9a-f]+$/.test(word)) {
    return word.slice(2).padStart(16, "0");
  }
  const number = /^(\d[\d,]*)(\.\d+)?$/.exec(word);
  if (number) {
    return number[1].replaceAll(",", "").padStart(16, "0") + (number[2] ?? "");
  }
  return word.toLowerCase();
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A search field with its label. */
function searchField(label, changed) {
  const input = element("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  input.addEventListener("input", () => changed(input.value));
  return [element("label", {}, label, input), input];
}

/** Makes the heads of a table buttons that sort; `sort(column, ascending)` does the work. */
function sortButtons(heads, sort) {
  heads.forEach((head, column) => {
    const button = element("button", { type: "button" }, ...head.childNodes);
    button.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sort(column, ascending);
    });
    head.replaceChildren(button);
  });
}
