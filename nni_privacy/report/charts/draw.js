/*
 * Draws what charts.js builds, with ECharts; needs both before it, and adds to window.privacyCharts:
 *
 * draw(element, option, {label, pick, renderer}) shows it, with a legend of buttons (.chart-legend) before the element;
 *                                                renderer: "svg", or "canvas", which is lighter for thousands of points
 * image(option, "png" | "svg", {width, height})  a data URL
 */
(function (root) {
  "use strict";

  /* Shapes of a legend's marks, by the symbol of the series. */
  const MARKS = {
    area: "inset(0)", line: "inset(38% 0)", diamond: "polygon(50% 0, 100% 50%, 50% 100%, 0 50%)", rect: "inset(15%)",
    triangle: "polygon(50% 0, 100% 100%, 0 100%)", roundRect: "inset(10% round 30%)",
  };
  const drawn = new WeakMap();

  /* Buttons of a legend, so that it wraps and works by keyboard: each shows or hides the series of its name. */
  function legend(element, chart, option, selected) {
    const list = document.createElement("div");
    list.className = "chart-legend";
    option.legend.data.forEach(function (one) {
      const button = document.createElement("button"), mark = document.createElement("span");
      const series = option.series.filter(function (other) { return other.name === one.name; });
      const points = series.find(function (other) { return other.type === "scatter"; });
      const shown = points || series[series.length - 1], style = shown.lineStyle || shown.itemStyle;
      mark.className = "chart-mark";
      mark.style.backgroundColor = style.color;
      mark.style.clipPath = MARKS[shown.markArea ? "area" : shown.type === "line" ? "line" : shown.symbol] || "circle()";
      button.type = "button";
      button.setAttribute("aria-pressed", String(selected[one.name] !== false));
      button.append(mark, one.name);
      button.addEventListener("click", function () {
        const on = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(on));
        chart.dispatchAction({ type: on ? "legendSelect" : "legendUnSelect", name: one.name });
      });
      list.appendChild(button);
    });
    return list;
  }

  /* Places that the arrow keys go through: every point that a tooltip tells of, from left to right. */
  function stops(option) {
    const found = option.series.flatMap(function (series, index) {
      return series.data.map(function (item, place) { return { series: index, place: place, item: item }; });
    }).filter(function (one) { return one.item && one.item.title; });
    return found.sort(function (a, b) { return a.item.value[0] - b.item.value[0] || a.series - b.series; });
  }

  function keys(element, chart, state) {
    element.addEventListener("keydown", function (event) {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key], now = state.stops[state.at];
      if (step && state.stops.length) {
        event.preventDefault();
        state.at = Math.min(Math.max(state.at + step, 0), state.stops.length - 1);
        const next = state.stops[state.at];
        chart.dispatchAction({ type: "showTip", seriesIndex: next.series, dataIndex: next.place });
        state.spoken.textContent = [next.item.title].concat(next.item.lines).join(", ");
      } else if (event.key === "Enter" && now && state.pick) {
        state.pick(now.item);
      } else if (event.key === "Escape") {
        chart.dispatchAction({ type: "hideTip" });
      }
    });
  }

  /* A new chart in an element: follows its size, goes through its points by the arrow keys, and tells of what is picked. */
  function start(element, renderer) {
    const chart = root.echarts.init(element, null, { renderer: renderer || "svg" }), spoken = document.createElement("span");
    const state = { chart: chart, spoken: spoken, legend: document.createElement("div"), stops: [], at: -1, pick: null };
    spoken.setAttribute("role", "status");
    spoken.style.cssText = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap";
    element.before(state.legend);
    element.after(spoken);
    element.tabIndex = 0;
    element.setAttribute("role", "img");
    new ResizeObserver(function () { if (!chart.isDisposed()) { chart.resize(); } }).observe(element);
    chart.on("click", function (event) { if (state.pick && event.data && event.data.title) { state.pick(event.data); } });
    keys(element, chart, state);
    return state;
  }

  /*
   * Draws an option into an element, or draws it anew; what a reader has hidden stays hidden.
   * settings: label, a text alternative; pick, called with {trial, sequence, ...} on a click or Enter.
   */
  function draw(element, option, settings) {
    let state = drawn.get(element);
    if (!state || state.chart.isDisposed()) { state = start(element, settings && settings.renderer); drawn.set(element, state); }
    const before = state.chart.getOption(), selected = (before && before.legend && before.legend[0].selected) || {};
    const list = legend(element, state.chart, option, selected);
    state.legend.replaceWith(list);
    Object.assign(state, { legend: list, stops: stops(option), at: -1, pick: settings && settings.pick });
    element.setAttribute("aria-label", (settings && settings.label) || "chart");
    const hidden = Object.assign({}, option.legend, { show: false, selected: selected });
    // The room that a legend takes in a picture is given back.
    const grid = Array.isArray(option.grid) ? option.grid : Object.assign({}, option.grid, { top: 10 });
    state.chart.setOption(Object.assign({}, option, { legend: hidden, grid: grid }), { notMerge: true });
    return state.chart;
  }

  /* A picture of an option as a data URL, with its legend: type is "png" or "svg". */
  function image(option, type, size) {
    const box = document.createElement("div"), width = (size && size.width) || 960, height = (size && size.height) || 600;
    const look = { renderer: type === "svg" ? "svg" : "canvas", width: width, height: height, devicePixelRatio: 2 };
    const chart = root.echarts.init(box, null, look);
    chart.setOption(option);
    const url = chart.getDataURL({ type: type, pixelRatio: 2 });
    chart.dispose();
    return url;
  }

  Object.assign(root.privacyCharts, { draw: draw, image: image });
})(window);
