"use strict";
// A link leads into source that is folded up.
function unfold() {
  const target = document.getElementById(location.hash.slice(1));
  for (let at = target; at; at = at.parentElement) {
    if (at.tagName === "DETAILS") at.open = true;
  }
  if (target) target.scrollIntoView({ block: target.tagName === "A" ? "center" : "start" });
}
addEventListener("hashchange", unfold);
unfold();

// Rows and files whose names have the text; the others are hidden.
const search = document.getElementById("search");
search.addEventListener("input", () => {
  const wanted = search.value.trim().toLowerCase();
  const has = (it) => !wanted || it.textContent.toLowerCase().includes(wanted);
  for (const row of document.querySelectorAll("table.searched tbody tr")) row.hidden = !has(row);
  for (const file of document.querySelectorAll("details.source")) {
    file.hidden = !has(file.querySelector("summary"));
  }
});

// A click on a heading sorts by its column; another one the other way round.
const key = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
for (const heading of document.querySelectorAll("th")) {
  heading.addEventListener("click", () => {
    const body = heading.closest("table").tBodies[0];
    const column = heading.cellIndex;
    const falls = heading.dataset.order !== "falls" && heading.classList.contains("number");
    heading.dataset.order = falls ? "falls" : "rises";
    const order = (a, b) => key(a, column).localeCompare(key(b, column), "en", { numeric: true });
    const number = (a, b) => key(a, column) - key(b, column);
    const by = heading.classList.contains("number") ? number : order;
    const rows = [...body.rows].sort(by);
    body.append(...(falls ? rows.reverse() : rows));
  });
}
