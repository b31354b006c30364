"use strict";
/* Tables of trials: sorted by a click on a heading, filtered by words and by kind, and long ones folded. Plain ones are
   sorted only. */
document.querySelectorAll("table.sortable").forEach(function (table) {
  const body = table.tBodies[0], rows = Array.from(body.rows), most = 500;
  let all = rows.length <= most;

  function sort(head, column) {
    const up = head.getAttribute("aria-sort") !== "ascending";
    const numeric = head.dataset.kind === "number";
    const keyed = Array.from(body.rows).map(function (row) {
      const text = row.cells[column].dataset.value;
      return { row: row, missing: text === "", value: numeric ? Number(text) : text };
    });
    keyed.sort(function (a, b) {
      if (a.missing || b.missing) { return a.missing - b.missing; }
      const order = numeric ? a.value - b.value : a.value.localeCompare(b.value);
      return up ? order : -order;
    });
    keyed.forEach(function (entry) { body.appendChild(entry.row); });
    table.querySelectorAll("th").forEach(function (other) { other.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    show();
  }

  /* Controls that need scripts are made by them. */
  const bar = document.createElement("div"), words = document.createElement("input");
  const kinds = document.createElement("select"), count = document.createElement("span"), more = document.createElement("button");
  function labelled(text, control) {
    const label = document.createElement("label");
    label.append(text + " ", control);
    bar.appendChild(label);
  }
  bar.className = "filters";
  words.type = "search";
  [["", "all"], ["front", "on the Pareto front"], ["succeeded", "succeeded"], ["failed", "failed or stopped"]].forEach(function (one) {
    if (one[0] !== "front" || table.querySelector("tr.front")) { kinds.add(new Option(one[1], one[0])); }
  });
  count.setAttribute("role", "status");
  labelled("Rows with the words", words);
  labelled("that are", kinds);
  bar.appendChild(count);
  more.type = "button";
  more.className = "all";
  more.textContent = "Show all " + rows.length + " rows";
  if (!table.hasAttribute("data-plain")) { table.parentNode.before(bar); }
  table.after(more);

  function matches(row) {
    const text = row.textContent.toLowerCase(), kind = kinds.value, failed = row.classList.contains("failed");
    return words.value.toLowerCase().split(/\s+/).every(function (word) { return text.includes(word); })
      && (kind === "" || (kind === "front" && row.classList.contains("front")) || (kind === "failed" && failed)
        || (kind === "succeeded" && !failed));
  }

  function show() {
    let found = 0;
    Array.from(body.rows).forEach(function (row) {
      const match = matches(row);
      found += match;
      row.classList.toggle("filtered", !match);
      row.classList.toggle("folded", match && !all && found > most);
    });
    more.hidden = all || found <= most;
    count.textContent = found === rows.length ? "" : found + " of " + rows.length + " rows";
  }

  function filter() {
    show();
    const none = words.value.trim() === "" && kinds.value === "";
    const kept = rows.filter(function (row) { return !row.classList.contains("filtered"); });
    const trials = none ? null : new Set(kept.map(function (row) { return row.id.replace(/^trial-/, ""); }));
    document.dispatchEvent(new CustomEvent("trials", { detail: trials }));
  }

  /* A link leads to its row, whatever hides it. */
  function jump() {
    const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!row || !body.contains(row)) { return; }
    if (row.classList.contains("filtered")) { words.value = kinds.value = ""; filter(); }
    if (row.classList.contains("folded")) { all = true; show(); }
    row.scrollIntoView();
  }

  table.querySelectorAll("th").forEach(function (head, column) {
    head.querySelector("button").addEventListener("click", function () { sort(head, column); });
  });
  words.addEventListener("input", filter);
  kinds.addEventListener("change", filter);
  more.addEventListener("click", function () { all = true; show(); });
  window.addEventListener("hashchange", jump);
  show();
  jump();
});
