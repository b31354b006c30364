"use strict";
document.querySelectorAll("table.sortable th").forEach(function (head, column) {
  head.querySelector("button").addEventListener("click", function () {
    const body = head.closest("table").tBodies[0];
    const up = head.getAttribute("aria-sort") !== "ascending";
    const numeric = head.dataset.kind === "number";
    const rows = Array.from(body.rows).map(function (row) {
      const text = row.cells[column].dataset.value;
      return { row: row, missing: text === "", value: numeric ? Number(text) : text };
    });
    rows.sort(function (a, b) {
      if (a.missing || b.missing) { return a.missing - b.missing; }
      const order = numeric ? a.value - b.value : a.value.localeCompare(b.value);
      return up ? order : -order;
    });
    rows.forEach(function (entry) { body.appendChild(entry.row); });
    head.parentNode.querySelectorAll("th").forEach(function (other) { other.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
  });
});
document.querySelectorAll("table.sortable").forEach(function (table) {
  const count = table.tBodies[0].rows.length;
  if (count <= 500) { return; }
  const all = document.createElement("button");
  all.type = "button";
  all.className = "all";
  all.textContent = "Show all " + count + " rows";
  const unfold = function () { table.classList.remove("folded"); all.remove(); };
  const jump = function () {
    const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (row && table.contains(row)) { unfold(); row.scrollIntoView(); }
  };
  all.addEventListener("click", unfold);
  window.addEventListener("hashchange", jump);
  table.classList.add("folded");
  table.after(all);
  jump();
});
