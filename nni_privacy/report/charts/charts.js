/*
 * Charts of the report and of the live page: builders from plain data to options of ECharts. draw.js draws them.
 *
 * tradeoffOption({points, xName, yName, xTitle, yTitle, front, constraints, better, guessing, selected, dark})
 *   points: [{trial, sequence, x, y, low, high, group, lines}]; low and high are the interval of y, group a legend's
 *   entry, lines further texts for the tooltip. front: trials on the front. constraints: [{metric, relation, bound, text}],
 *   shaded where their metric is an axis. better: {x: "high"|"low"|null, y: likewise}. guessing: y of a guess, by default
 *   0.5 of an AUC. selected: trials with a ring.
 * progressOption({rows, panels, dark})
 *   rows: [{trial, sequence, status, metrics}]; panels: [{metric, title, better, low, high}], low and high name metrics.
 * hypervolumeOption({points, dark})            points: [[sequence, value]]
 * rocOption({curves, band, floor, bottom, dark})
 *   curves: [{attack, fpr, tpr, auc}]; band: {name, grid, low, high} or none; floor and bottom: least values of the axes.
 * curvesOption({traces, title, dark})          traces: [{name, values, epochs}]; null where there is no value; epochs from 1
 * barsOption({rows, title, guessing, dark})    rows: [{name or label, value or auc, low, high, group, lines}], the first on
 *   top; group is a legend's entry
 *
 * Names may be hostile: they get into a page as text nodes only, and into no template or markup.
 */
(function (root) {
  "use strict";

  const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif';
  const LIGHT = {
    ink: "#1e293b", soft: "#475569", rule: "#e2e8f0", paper: "#ffffff", front: "#c2410c", other: "#64748b", accuracy: "#0072b2",
    auc: "#c2410c", guessing: "#64748b", failed: "#b91c1c", shade: "#7c3aed", selected: "#1e293b",
    curves: ["#c2410c", "#0072b2", "#15803d", "#7c3aed", "#a16207", "#db2777", "#0e7490", "#334155"],
  };
  const DARK = {
    ink: "#e5e7eb", soft: "#b6bdc9", rule: "#3a3a3a", paper: "#141414", front: "#fb923c", other: "#94a3b8", accuracy: "#56b4e9",
    auc: "#fb923c", guessing: "#94a3b8", failed: "#f87171", shade: "#c4b5fd", selected: "#f8fafc",
    curves: ["#fb923c", "#56b4e9", "#4ade80", "#c4b5fd", "#facc15", "#f472b6", "#22d3ee", "#cbd5e1"],
  };
  const SYMBOLS = ["circle", "triangle", "rect", "roundRect", "pin", "arrow"];
  const COUNTS = new Intl.NumberFormat("en-US"); // made once: it takes longer than all else of a point
  const MANY = 500;
  const OTHERS = "other trials", FRONT = "Pareto front", OUTSIDE = "outside the constraints", SELECTED = "selected";

  function palette(dark) { return dark ? DARK : LIGHT; }
  function finite(value) { return typeof value === "number" && isFinite(value); }
  function rounded(value) { return Number(value.toPrecision(12)); }

  /* A number for people: four digits of a fraction, thousands set apart. */
  function number(value) {
    if (!finite(value)) { return "–"; }
    if (Number.isInteger(value)) { return COUNTS.format(value); }
    return Math.abs(value) >= 1000 ? COUNTS.format(Math.round(value))
      : Math.abs(value) < 10 ? value.toFixed(4) : value.toPrecision(5);
  }

  function interval(low, high) { return finite(low) && finite(high) ? " [" + number(low) + ", " + number(high) + "]" : ""; }

  /* Ends and step of an axis that holds all values; fractions stay within 0 and 1. */
  function niceRange(values) {
    const known = values.filter(finite);
    if (!known.length) { return { min: 0, max: 1, interval: 0.25 }; }
    const least = Math.min.apply(null, known), most = Math.max.apply(null, known);
    const span = most - least || Math.abs(most) * 0.1 || 1;
    const rough = span * 1.1 / 7, power = Math.pow(10, Math.floor(Math.log10(rough)));
    const step = power * [1, 2, 2.5, 5, 10].find(function (one) { return one * power >= rough * 0.999; });
    let min = rounded(Math.floor((least - span * 0.05) / step) * step);
    let max = rounded(Math.ceil((most + span * 0.05) / step) * step);
    if (least >= 0 && most <= 1) { min = Math.max(min, 0); max = Math.min(max, 1); }
    return { min: min, max: max, interval: rounded(step) };
  }

  /* Trials that no other beats in both; of equal ones all. */
  function front(points, better) {
    const turn = function (value, side) { return side === "low" ? value : -value; };
    const known = points.filter(function (one) { return finite(one.x) && finite(one.y); }).sort(function (a, b) {
      return turn(a.x, better.x) - turn(b.x, better.x) || turn(a.y, better.y) - turn(b.y, better.y);
    });
    const kept = [];
    let best = Infinity, at = null;
    known.forEach(function (one) {
      const value = turn(one.y, better.y);
      if (value < best || (value === best && one.x === at)) { kept.push(one.trial); best = value; at = one.x; }
    });
    return kept;
  }

  /* A tooltip: a title and lines, of text nodes. */
  function note(title, lines) {
    const box = document.createElement("div");
    [title].concat(lines).forEach(function (text, place) {
      const line = document.createElement(place ? "div" : "strong");
      line.textContent = text;
      line.style.display = "block";
      box.appendChild(line);
    });
    box.style.maxWidth = "min(320px, 70vw)";
    box.style.whiteSpace = "normal";
    box.style.overflowWrap = "anywhere";
    return box;
  }

  function common(colours, names) {
    return {
      animation: false,
      backgroundColor: colours.paper,
      textStyle: { fontFamily: FONT, color: colours.ink },
      aria: { enabled: false },
      legend: {
        type: "scroll", top: 0, left: 0, data: names.map(function (one) { return { name: one }; }),
        textStyle: { color: colours.ink }, inactiveColor: colours.rule, pageTextStyle: { color: colours.ink },
      },
      tooltip: {
        trigger: "item", confine: true, backgroundColor: colours.paper, borderColor: colours.soft,
        textStyle: { color: colours.ink, fontSize: 13 },
        formatter: function (params) { return params.data && params.data.title ? note(params.data.title, params.data.lines) : ""; },
      },
      grid: { left: 12, right: 18, top: 34, bottom: 12 },
    };
  }

  function axis(colours, title, more) {
    return Object.assign({
      type: "value", name: title, nameLocation: "middle", nameGap: 11, nameTextStyle: { color: colours.ink, fontSize: 13 },
      nameTruncate: { maxWidth: 330 },
      axisLabel: { color: colours.soft, hideOverlap: true }, axisLine: { show: true, lineStyle: { color: colours.soft } },
      axisTick: { show: true, lineStyle: { color: colours.soft } }, splitLine: { show: true, lineStyle: { color: colours.rule } },
    }, more);
  }

  /* The axis below a chart: its title stands clear of the numbers at its ticks. */
  function level(colours, title, more) { return Object.assign(axis(colours, title, more), { nameGap: 28 }); }

  /* About as wide as the numbers beside an axis of these ends are drawn, in pixels. */
  function labelWidth(range) {
    const count = Math.round((range.max - range.min) / range.interval), texts = [range.max];
    for (let place = 0; place <= count; place += 1) { texts.push(rounded(range.min + place * range.interval)); }
    return 7.5 * Math.max.apply(null, texts.map(function (one) { return one.toLocaleString("en-US", { maximumFractionDigits: 12 }).length; }));
  }

  /* A line that nothing is told of: intervals, steps and bounds. */
  function line(name, data, style, more) {
    return Object.assign({
      name: name, type: "line", data: data, symbol: "none", silent: true, connectNulls: false, lineStyle: style,
      itemStyle: { color: style.color }, emphasis: { disabled: true }, tooltip: { show: false }, z: 2,
    }, more);
  }

  function scatter(name, data, colour, symbol, size, more) {
    return Object.assign({
      name: name, type: "scatter", data: data, symbol: symbol, symbolSize: size, z: 4,
      itemStyle: { color: colour, borderWidth: 0 }, emphasis: { scale: 1.5 },
      large: data.length > MANY, largeThreshold: MANY, progressive: 0, // one path for all, in place of a shape each
    }, more);
  }

  /* Intervals of points as one broken line: from low to high, then a gap. */
  function bars(points) {
    const data = [];
    points.forEach(function (one) {
      if (finite(one.low) && finite(one.high)) { data.push([one.x, one.low], [one.x, one.high], [one.x, null]); }
    });
    return data;
  }

  function ends(points) {
    return points.reduce(function (all, one) { all.push(one.y, one.low, one.high); return all; }, []);
  }

  /* Whether the line of a guess would not push all points into less than half of the axis. */
  function near(values, guess) {
    const known = values.filter(finite);
    if (!finite(guess) || !known.length) { return false; }
    const bottom = Math.min.apply(null, known), top = Math.max.apply(null, known);
    return Math.max(top, guess) - Math.min(bottom, guess) <= 2.2 * (top - bottom) || (bottom <= guess && guess <= top);
  }

  /* The bounds on an axis that lie near its values, so that a reader sees them. */
  function nearBounds(constraints, metric, values) {
    return constraints.filter(function (one) { return one.metric === metric && near(values, one.bound); })
      .map(function (one) { return one.bound; });
  }

  function below(constraint) { return constraint.relation.charAt(0) === "<"; }

  /* What lies outside of the constraints on the two axes, as rectangles of a shaded series. */
  function shades(constraints, names, x, y, colours) {
    const areas = [];
    constraints.forEach(function (one) {
      const across = one.metric === names.x, range = across ? x : y;
      if (!across && one.metric !== names.y) { return; }
      const from = below(one) ? Math.max(one.bound, range.min) : range.min;
      const to = below(one) ? range.max : Math.min(one.bound, range.max);
      if (from >= to) { return; }
      areas.push(across ? [{ coord: [from, y.min] }, { coord: [to, y.max] }] : [{ coord: [x.min, from] }, { coord: [x.max, to] }]);
    });
    if (!areas.length) { return []; }
    return [line(OUTSIDE, [[x.min, y.min]], { color: colours.shade, width: 0 }, {
      markArea: { silent: true, data: areas, label: { show: false }, itemStyle: { color: colours.shade, opacity: 0.16 } },
    })];
  }

  function pointItem(one, given) {
    const title = (finite(one.sequence) ? "#" + one.sequence + " " : "") + (one.trial === undefined ? "" : one.trial);
    const lines = [given.xTitle + ": " + number(one.x), given.yTitle + ": " + number(one.y) + interval(one.low, one.high)];
    return { value: [one.x, one.y], trial: one.trial, sequence: one.sequence, title: title, lines: lines.concat(one.lines || []) };
  }

  /* Points that are not on the front by their group, each with a colour and a symbol of its own. */
  function groups(points, given, colours) {
    const found = new Map();
    points.forEach(function (one) {
      const name = one.group || OTHERS;
      if (!found.has(name)) { found.set(name, []); }
      found.get(name).push(one);
    });
    return Array.from(found.entries()).flatMap(function (entry, place) {
      const colour = found.size === 1 ? colours.other : colours.curves[(place + 1) % colours.curves.length];
      return pointSeries(entry[0], entry[1], given, colour, SYMBOLS[place % SYMBOLS.length], 8);
    });
  }

  function pointSeries(name, points, given, colour, symbol, size) {
    const many = points.length > 60, style = { color: colour, width: many ? 0.8 : 1.4, opacity: many ? 0.35 : 0.6 };
    return [line(name, bars(points), style),
      scatter(name, points.map(function (one) { return pointItem(one, given); }), colour, symbol, size)];
  }

  function ringed(points, selected, colours) {
    const wanted = new Set([].concat(selected === undefined || selected === null ? [] : selected));
    const data = points.filter(function (one) { return wanted.has(one.trial); }).map(function (one) { return [one.x, one.y]; });
    if (!data.length) { return []; }
    const ring = { color: "transparent", borderColor: colours.selected, borderWidth: 2 };
    return [scatter(SELECTED, data, colours.selected, "circle", 18, { itemStyle: ring, silent: true, z: 5 })];
  }

  function frontSeries(points, given, colours) {
    if (!points.length) { return []; }
    const better = given.better || {};
    const steps = points.map(function (one) { return [one.x, one.y]; }).sort(function (a, b) { return a[0] - b[0] || a[1] - b[1]; });
    const step = better.x === "low" ? "end" : better.x ? "start" : false;
    return pointSeries(FRONT, points, given, colours.front, "diamond", 13).concat(
      [line(FRONT, steps, { color: colours.front, width: 1.4, opacity: 0.8 }, { step: step })]);
  }

  function guessName(metric) { return /mia_auc$|^auc$/.test(metric || "") ? "guessing (AUC 0.5)" : "guessing"; }

  function tradeoffOption(given) {
    const colours = palette(given.dark), constraints = given.constraints || [], names = { x: given.xName, y: given.yName };
    const points = given.points.filter(function (one) { return finite(one.x) && finite(one.y); });
    const guess = given.guessing === undefined ? (/mia_auc$/.test(given.yName || "") ? 0.5 : null) : given.guessing;
    const on = new Set(given.front || []);
    const across = points.map(function (one) { return one.x; }), up = ends(points);
    const shown = near(up, guess);
    const x = niceRange(across.concat(nearBounds(constraints, names.x, across)));
    const y = niceRange(up.concat(nearBounds(constraints, names.y, up), shown ? [guess] : []));
    const series = shades(constraints, names, x, y, colours)
      .concat(groups(points.filter(function (one) { return !on.has(one.trial); }), given, colours))
      .concat(frontSeries(points.filter(function (one) { return on.has(one.trial); }), given, colours))
      .concat(shown ? [guessLine(guessName(given.yName), x, guess, colours)] : [])
      .concat(ringed(points, given.selected, colours));
    return Object.assign(common(colours, legendNames(series)), {
      xAxis: level(colours, given.xTitle, x), yAxis: axis(colours, given.yTitle, y), series: series,
    });
  }

  function guessLine(name, x, guess, colours) {
    return line(name, [[x.min, guess], [x.max, guess]], { color: colours.guessing, width: 1.4, type: "dashed" });
  }

  /* Each name once, in the order of the series; the ring of a selection is no entry. */
  function legendNames(series) {
    return Array.from(new Set(series.map(function (one) { return one.name; }))).filter(function (one) { return one !== SELECTED; });
  }

  /* The best so far, after each row: null before there is one. */
  function bestSoFar(values, better) {
    let best = null;
    return values.map(function (value) {
      if (finite(value) && (best === null || (better === "low" ? value < best : value > best))) { best = value; }
      return best;
    });
  }

  function panelSeries(rows, panel, place, colours, x) {
    const colour = panel.better === "low" ? colours.auc : colours.accuracy, at = { xAxisIndex: place, yAxisIndex: place };
    const metric = function (row, name) { return name && row.status !== "failed" && row.metrics ? row.metrics[name] : null; };
    const points = rows.map(function (row) {
      return { trial: row.trial, sequence: row.sequence, x: row.sequence, y: metric(row, panel.metric),
        low: metric(row, panel.low), high: metric(row, panel.high), lines: row.lines };
    });
    const best = bestSoFar(points.map(function (one) { return one.y; }), panel.better);
    const known = points.filter(function (one) { return finite(one.y); });
    const steps = points.map(function (one, index) { return [one.x, best[index]]; });
    const values = ends(known), guess = /mia_auc$/.test(panel.metric) && near(values, 0.5) ? 0.5 : null;
    const titles = { xTitle: "trial", yTitle: panel.title };
    const failed = rows.filter(function (row) { return row.status === "failed"; });
    const range = niceRange(values.concat(guess === null ? [] : [guess]));
    const cross = failed.map(function (row) {
      return { value: [row.sequence, range.min], trial: row.trial, title: "#" + row.sequence + " " + row.trial, lines: ["failed"] };
    });
    const series = pointSeries(panel.title, known, titles, colour, place ? "diamond" : "circle", 8)
      .concat(panel.better ? [line((panel.better === "low" ? "lowest" : "best") + " so far", steps, { color: colour, width: 1.6 }, { step: "end" })] : [])
      .concat(guess === null ? [] : [guessLine(guessName(panel.metric), x, guess, colours)])
      .concat(cross.length ? [scatter("failed", cross, colours.failed, "path://M0 1L1 0L5 4L9 0L10 1L6 5L10 9L9 10L5 6L1 10L0 9L4 5Z", 9)] : []);
    return { range: range, series: series.map(function (one) { return Object.assign(one, at); }) };
  }

  /* Panels one below the other, over the trials in the order of the search. */
  function progressOption(given) {
    const colours = palette(given.dark), count = given.panels.length;
    const x = niceSequence(given.rows.map(function (row) { return row.sequence; }));
    const panels = given.panels.map(function (panel, place) { return panelSeries(given.rows, panel, place, colours, x); });
    const series = panels.flatMap(function (one) { return one.series; });
    const height = 86 / count;
    // One left edge for all, whatever their numbers: a trial stands at the same place in each.
    const beside = Math.ceil(Math.max.apply(null, [0].concat(panels.map(function (one) { return labelWidth(one.range); })))) + 14;
    return Object.assign(common(colours, legendNames(series)), {
      grid: given.panels.map(function (_, place) {
        return { left: beside + 20, right: 18, top: 9 + place * (height + 2) + "%", height: height - 3 + "%" };
      }),
      xAxis: given.panels.map(function (_, place) {
        const made = level(colours, place === count - 1 ? "trial, in the order of the search" : "", Object.assign({ gridIndex: place }, x));
        made.axisLabel = Object.assign({ show: place === count - 1 }, made.axisLabel);
        return made;
      }),
      yAxis: given.panels.map(function (panel, place) {
        return axis(colours, panel.title, Object.assign({ gridIndex: place, nameGap: beside }, panels[place].range));
      }),
      series: series,
    });
  }

  function niceSequence(values) {
    const known = values.filter(finite), max = known.length ? Math.max.apply(null, known) : 1;
    const min = known.length ? Math.min.apply(null, known) : 0;
    return { min: min, max: Math.max(max, min + 1), minInterval: 1 };
  }

  function hypervolumeOption(given) {
    const colours = palette(given.dark), name = "hypervolume";
    const data = given.points.map(function (one) {
      return { value: one, title: "after trial #" + one[0], lines: ["hypervolume: " + number(one[1])] };
    });
    const steps = line(name, data, { color: colours.front, width: 1.8 }, {
      step: "end", silent: false, tooltip: { show: true }, symbol: "diamond", symbolSize: 7, showSymbol: data.length <= 60,
    });
    return Object.assign(common(colours, []), {
      xAxis: level(colours, "trial, in the order of the search", niceSequence(given.points.map(function (one) { return one[0]; }))),
      yAxis: axis(colours, name, niceRange(given.points.map(function (one) { return one[1]; }))), series: [steps],
      grid: { left: 12, right: 18, top: 12, bottom: 12 },
    });
  }

  /* The decades between two ends, with the ends where they are none. */
  function decades(from, to) {
    const found = [from];
    for (let power = Math.ceil(Math.log10(from * 1.5)); Math.pow(10, power) <= to; power += 1) { found.push(rounded(Math.pow(10, power))); }
    return found;
  }

  function logAxis(colours, title, from) {
    const values = decades(from, 1), show = function (value) { return String(Number(Number(value).toPrecision(2))); };
    const made = axis(colours, title, { type: "log", min: from, max: 1 });
    Object.assign(made.axisLabel, { customValues: values, formatter: show });
    Object.assign(made.axisTick, { customValues: values });
    return made;
  }

  function rocLine(curve, place, floor, bottom, colours) {
    const data = curve.fpr.map(function (fpr, index) {
      const tpr = curve.tpr[index];
      return { value: [Math.max(fpr, floor), Math.max(tpr, bottom)], title: curve.attack,
        lines: ["false-positive rate: " + number(fpr), "true-positive rate: " + number(tpr)] };
    });
    const name = curve.attack + (finite(curve.auc) ? ", AUC " + curve.auc.toFixed(3) : "");
    return line(name, data, { color: colours.curves[place % colours.curves.length], width: place ? 1.6 : 2.4 },
      { step: "end", silent: false, tooltip: { show: true }, symbol: "circle", symbolSize: 6, showSymbol: false, z: 3,
        triggerLineEvent: true });
  }

  /* ROC curves on two logarithmic axes; what lies below an axis' least value is drawn on it. */
  function rocOption(given) {
    const colours = palette(given.dark), floor = given.floor, bottom = given.bottom || given.floor, band = given.band;
    const series = [line("guessing (AUC 0.5)", decades(Math.max(floor, bottom), 1).map(function (one) { return [one, one]; }),
      { color: colours.guessing, width: 1.4, type: "dashed" })];
    if (band) {
      ["low", "high"].forEach(function (end) {
        series.push(line(band.name, band.grid.map(function (at, index) { return [at, Math.max(band[end][index], bottom)]; }),
          { color: colours.curves[0], width: 1.2, type: "dotted" }));
      });
    }
    given.curves.forEach(function (curve, place) { series.push(rocLine(curve, place, floor, bottom, colours)); });
    return Object.assign(common(colours, legendNames(series)), {
      xAxis: Object.assign(logAxis(colours, "false-positive rate (log)", floor), { nameGap: 28 }), yAxis: logAxis(colours, "true-positive rate (log)", bottom),
      series: series, tooltip: Object.assign(common(colours, []).tooltip, { trigger: "axis", formatter: nearest }),
    });
  }

  /* The tooltip of all lines at one place of the horizontal axis. */
  function nearest(many) {
    const told = [].concat(many).filter(function (one) { return one.data && one.data.title; });
    if (!told.length) { return ""; }
    const box = document.createElement("div");
    told.forEach(function (one) { box.appendChild(note(one.data.title, one.data.lines)); });
    return box;
  }

  function epochsOf(trace) { return trace.epochs || trace.values.map(function (_, index) { return index + 1; }); }

  function curvesOption(given) {
    const colours = palette(given.dark), every = given.traces.flatMap(epochsOf), last = Math.max.apply(null, [1].concat(every));
    const series = given.traces.map(function (trace, place) {
      const epochs = epochsOf(trace), data = trace.values.map(function (value, index) {
        return { value: [epochs[index], finite(value) ? value : null], title: trace.name,
          lines: ["epoch " + epochs[index] + ": " + number(value)] };
      });
      return line(trace.name, data, { color: colours.curves[place % colours.curves.length], width: 1.8 },
        { silent: false, tooltip: { show: true }, symbol: SYMBOLS[place % SYMBOLS.length], symbolSize: 6, showSymbol: last <= 40, connectNulls: true });
    });
    return Object.assign(common(colours, legendNames(series)), {
      xAxis: level(colours, "epoch", { min: 1, max: Math.max(last, 2), minInterval: 1 }),
      yAxis: axis(colours, given.title || "", niceRange(given.traces.flatMap(function (one) { return one.values; }))),
      series: series, tooltip: Object.assign(common(colours, []).tooltip, { trigger: "axis", formatter: nearest }),
    });
  }

  function barRow(row, place) {
    const name = [row.name, row.label].find(function (one) { return one !== undefined && one !== null && one !== ""; });
    return { name: String(name), value: row.value === undefined ? row.auc : row.value, low: row.low, high: row.high,
      group: row.group, lines: row.lines || [], place: place };
  }

  /* One group of rows: values as symbols, intervals as bars of the same entry in the legend. */
  function rowSeries(name, rows, title, colour, symbol) {
    const data = rows.filter(function (row) { return finite(row.value); }).map(function (row) {
      return { value: [row.value, row.place], title: row.name, lines: [title + ": " + number(row.value) + interval(row.low, row.high)].concat(row.lines) };
    });
    const stretches = rows.flatMap(function (row) {
      return finite(row.low) && finite(row.high) ? [[row.low, row.place], [row.high, row.place], [null, row.place]] : [];
    });
    return [line(name, stretches, { color: colour, width: 2, opacity: 0.6 }), scatter(name, data, colour, symbol, 10)];
  }

  /* A row each, the first on top; rows of a group have a colour and a symbol. */
  function barsOption(given) {
    const colours = palette(given.dark), title = given.title || "AUC of the attack", guess = given.guessing === undefined ? 0.5 : given.guessing;
    const rows = given.rows.map(barRow), kinds = Array.from(new Set(rows.map(function (row) { return row.group || title; })));
    const series = kinds.flatMap(function (kind, place) {
      const own = rows.filter(function (row) { return (row.group || title) === kind; });
      return rowSeries(kind, own, title, colours.curves[place % colours.curves.length], place ? SYMBOLS[(place - 1) % SYMBOLS.length] : "diamond");
    });
    if (finite(guess)) {
      const style = { color: colours.guessing, width: 1.4, type: "dashed" };
      series.push(line(guess === 0.5 ? "guessing (AUC 0.5)" : "no change", [], style, {
        markLine: { symbol: "none", silent: true, label: { show: false }, lineStyle: style, data: [{ xAxis: guess }] },
      }));
    }
    const values = rows.flatMap(function (row) { return [row.value, row.low, row.high]; });
    const range = niceRange(values.concat(finite(guess) ? [guess] : []));
    const made = axis(colours, "", { type: "category", data: rows.map(function (row) { return row.name; }), inverse: true, splitLine: { show: false } });
    Object.assign(made.axisLabel, { width: 150, overflow: "truncate", interval: rows.length > 40 ? "auto" : 0 });
    return Object.assign(common(colours, legendNames(series)), { xAxis: level(colours, title, range), yAxis: made, series: series });
  }

  root.privacyCharts = {
    palette: palette, number: number, niceRange: niceRange, front: front, tradeoffOption: tradeoffOption,
    progressOption: progressOption, hypervolumeOption: hypervolumeOption, rocOption: rocOption, curvesOption: curvesOption,
    barsOption: barsOption,
  };
})(window);
