// Tables that are in the page already: sorted and searched in place.

const FEW_ROWS = 8;

function improveTable(table) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  if (rows.length < 2) {
    return;
  }
  sortButtons([...table.tHead.rows[0].cells], (column, ascending) => {
    const keyed = rows.map((row) => [sortKey(row.cells[column].textContent), row]);
    keyed.sort(([a], [b]) => (ascending ? compare(a, b) : compare(b, a)));
    body.append(...keyed.map(([, row]) => row));
  });
  if (rows.length > FEW_ROWS) {
    addFilter(table, rows);
  }
}

function addFilter(table, rows) {
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const status = element("span", { role: "status", class: "note" });
  const [label] = searchField("Search", (query) => {
    const words = query.toLowerCase().split(/\s+/);
    let shown = 0;
    rows.forEach((row, place) => {
      row.hidden = !words.every((word) => texts[place].includes(word));
      shown += row.hidden ? 0 : 1;
    });
    status.textContent = query ? `${shown.toLocaleString("en")} of ${counted(rows.length, "row")}` : "";
  });
  label.querySelector("input").setAttribute("aria-label", `Search: ${table.caption.textContent}`);
  table.parentElement.before(element("div", { class: "tools" }, label, status));
}
