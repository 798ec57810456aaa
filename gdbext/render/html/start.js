// What the page of a report does when it has been read.

const data = JSON.parse(document.getElementById("data").textContent);

if (data.graph) {
  drawGraph(document.getElementById("graph"), data.graph);
}
if (data.slots) {
  slotTable(document.getElementById("all-slots"), data.slots);
}
