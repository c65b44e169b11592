// Fills the dashboard once a second, and draws its charts.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const colors = ["var(--good)", "var(--accent)", "var(--bad)"];
  const number = (value, digits = 0) =>
    value === null || value === undefined ? "–" : Number(value).toLocaleString(undefined, { maximumFractionDigits: digits });
  const megabytes = (bytes) => number(bytes / 1048576, 1) + " MB";

  function rows(id, list) {
    byId(id).replaceChildren(...list.map((cells) => {
      const row = document.createElement("tr");
      cells.forEach((text, index) => {
        const cell = document.createElement(index === 0 ? "th" : "td");
        if (index === 0) cell.scope = "row";
        cell.textContent = text;
        row.append(cell);
      });
      return row;
    }));
  }

  function draw(id, series, digits, fixedTop) {
    const svg = byId(id);
    const all = series.flat().filter((value) => value !== null);
    const most = Math.max(0, ...all);
    const top = fixedTop || most * 1.1 || 1;
    byId(id + "-top").textContent = all.length ? "max " + number(most, digits) : "";
    const lines = series.map((values, index) => {
      let path = "";
      let pen = "M";
      values.forEach((value, at) => {
        if (value === null) { pen = "M"; return; }
        const x = at * 600 / Math.max(1, values.length - 1);
        const y = 140 - value * 140 / top;
        // A lone second has no line to either side: it gets a short one of its own.
        const alone = pen === "M" && (values[at + 1] ?? null) === null;
        path += alone ? `M${(x - 6).toFixed(1)} ${y.toFixed(1)}H${(x + 6).toFixed(1)}` : `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
        pen = "L";
      });
      const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
      line.setAttribute("d", path || "M0 140");
      line.setAttribute("fill", "none");
      line.setAttribute("stroke", colors[index]);
      line.setAttribute("stroke-width", "2");
      line.setAttribute("vector-effect", "non-scaling-stroke");
      return line;
    });
    svg.replaceChildren(...lines);
    byId(id + "-now").textContent = series.map((values) => number(values.findLast((value) => value !== null), digits)).join(" / ");
  }

  function judge(rate, word) {
    byId("verdict-rate").textContent = rate;
    if (byId("verdict-word").textContent !== word) byId("verdict-word").textContent = word;
  }

  // A screen reader reads alerts aloud whenever they change, so they are left alone when they say the same as before.
  let alerted = "[]";
  function showAlerts(alerts) {
    const text = JSON.stringify(alerts);
    if (text === alerted) return;
    alerted = text;
    byId("alerts").replaceChildren(...alerts.map((alert) => {
      const line = document.createElement("p");
      const what = document.createElement("strong");
      what.textContent = alert.what;
      line.append(what, ". " + alert.advice);
      return line;
    }));
  }

  function show(stats) {
    const rate = stats.hit_rate === null ? "–" : number(stats.hit_rate, 1) + " %";
    byId("hit-rate").textContent = rate;
    judge(`Hit rate ${rate}: `, stats.verdict + ".");
    byId("verdict").dataset.verdict = stats.verdict;
    byId("reads").textContent = number(stats.l1_hits + stats.l2_hits + stats.misses);
    byId("saved").textContent = number(stats.queries_saved);
    byId("time-saved").textContent = number(stats.time_saved_s, 3) + " s";
    byId("cost-saved").textContent = number(stats.cost_saved, 6);
    byId("queries").textContent = number(stats.queries);
    byId("refused").textContent = number(stats.refused);
    byId("errors").textContent = `${number(stats.errors.answers)} answers, ${number(stats.errors.caches)} cache requests`;
    byId("servers").textContent = number(stats.servers);
    showAlerts(stats.alerts);
    const layers = stats.percentiles_ms;
    rows("percentiles", [["L1", layers.l1], ["L2", layers.l2], ["Database", layers.database]]
      .map(([name, times]) => [name, ...times.map((ms) => number(ms, 3))]));
    rows("caches", [...stats.caches, stats.state].map((cache) => [
      cache.name, cache.up ? "up" : "unreachable", megabytes(cache.memory),
      cache.limit ? megabytes(cache.limit) : "none", number(cache.keys), number(cache.evicted),
    ]));
    const points = stats.points;
    const of = (pick) => points.map(pick);
    draw("chart-hits", [of((point) => point.hit_rate)], 1, 105);
    draw("chart-queries", [of((point) => point.reads), of((point) => point.queries)], 0);
    for (const layer of ["l1", "l2", "database"]) {
      draw("chart-" + layer, [0, 1, 2].map((index) => of((point) => point[layer][index] || null)), 3);
    }
    const megabytesOf = (bytes) => bytes === null ? null : bytes / 1048576;
    draw("chart-memory", [of((point) => megabytesOf(point.memory)), of((point) => megabytesOf(point.limit))], 2);
    draw("chart-keys", [of((point) => point.keys)], 0);
    draw("chart-evictions", [of((point) => point.evictions)], 0);
    draw("chart-errors", [of((point) => point.failures), of((point) => point.cache_errors)], 1);
    draw("chart-refused", [of((point) => point.refused)], 1);
    draw("chart-cost", [of((point) => point.cost_saved)], 6);
  }

  async function tick() {
    try {
      const answer = await fetch("/api/stats");
      if (answer.status === 401) { location.href = "/"; return; }
      const stats = await answer.json();
      if (stats.caches) show(stats);
    } catch {
      judge("", "The server cannot be reached.");
    }
    setTimeout(tick, 1000);
  }
  tick();
})();
