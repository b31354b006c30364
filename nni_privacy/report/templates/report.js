"use strict";
/* Puts interactive charts in the place of figures, from the data beside them; on paper the figures are kept. */
(function () {
  const charts = window.privacyCharts;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let visible = null;

  /* What a chart shows of its data: only the trials that the table's filter leaves, and rows in the chosen order. */
  function shown(entry) {
    const data = Object.assign({}, entry.data, { dark: dark.matches });
    const kept = function (one) { return !visible || visible.has(one.trial); };
    if (visible && data.points && data.front && data.front.length) { data.points = data.points.filter(kept); }
    if (entry.ordered) {
      data.rows = data.rows.slice().sort(function (a, b) { return b.value - a.value; });
    }
    return data;
  }

  function draw(entry) {
    charts.draw(entry.box, charts[entry.builder](shown(entry)), { label: entry.label, pick: jump });
  }

  /* Leads from a point to its trial's row. */
  function jump(item) {
    if (document.getElementById("trial-" + item.trial)) { location.hash = "trial-" + encodeURIComponent(item.trial); }
  }

  function orderButton(entry) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "chart-order";
    button.textContent = "Order by value";
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", function () {
      entry.ordered = !entry.ordered;
      button.setAttribute("aria-pressed", String(entry.ordered));
      draw(entry);
    });
    return button;
  }

  const entries = Array.from(document.querySelectorAll("script.chart-data")).map(function (island) {
    const whole = document.createElement("div"), box = document.createElement("div"), told = island.dataset;
    whole.className = "interactive";
    box.className = "chart";
    box.style.height = told.height + "px";
    whole.appendChild(box);
    island.after(whole);
    if (island.previousElementSibling.className === "static") { island.previousElementSibling.classList.add("replaced"); }
    const entry = { box: box, builder: told.builder, label: told.label, data: JSON.parse(island.textContent), ordered: false };
    if (told.order) { whole.prepend(orderButton(entry)); }
    draw(entry);
    return entry;
  });
  dark.addEventListener("change", function () { entries.forEach(draw); });
  document.addEventListener("trials", function (event) {
    visible = event.detail;
    entries.filter(function (entry) { return entry.builder === "tradeoffOption"; }).forEach(draw);
  });
})();
