// What a page of tables alone does when it has been read.

document.querySelectorAll("table.sortable").forEach(improveTable);
