"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement, at = id => document.getElementById(id), button = at("theme"), split = at("split");
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "star", "hexagon"], TIMES = "\u00d7";
const css = name => getComputedStyle(root).getPropertyValue(name).trim();
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
const plain = text => String(text).replace(/[&<>]/g, letter => ESCAPES[letter]);  // Plotly reads tags in its texts
const lost = point => 100 * (data.dense[split.value] - point.accuracy[split.value]);
const relative = point => point.edp / data.reference;

function said(point) {
  const points = lost(point), by = `${Math.abs(points).toFixed(2)} points ${points > 0 ? "lost" : "won"}`;
  const layers = point.layers.map(plain).join("<br>");
  return `<b>${plain(data.designs[point.design].name)}</b>  ${plain(point.name)}<br>EDP ${relative(point).toPrecision(3)}${TIMES}, ` +
    `${points === 0 ? "nothing lost" : by}${layers ? "<br>" + layers : ""}`;
}
function steps(values) {
  const ticks = [], low = Math.min(...values), high = Math.max(...values);
  for (let ten = Math.floor(Math.log10(low)) - 1; ten <= Math.ceil(Math.log10(high)); ten++)
    for (const head of [1, 2, 5]) ticks.push(Number(`${head}e${ten}`));
  return { tickvals: ticks, ticktext: ticks.map(each => each.toLocaleString("en-US", { maximumSignificantDigits: 3 }) + TIMES) };
}
function front(points) {
  const found = [];
  for (const point of [...points].sort((a, b) => lost(a) - lost(b) || a.edp - b.edp))
    if (!found.length || point.edp < found[found.length - 1].edp) found.push(point);
  return found;
}
const axis = extra => ({ gridcolor: css("--line"), linecolor: css("--soft"), zeroline: false, ticks: "",
  automargin: true, tickfont: { size: 12 }, ...extra, title: { text: extra.title, font: { size: 13 }, standoff: 10 } });

function draw() {
  const known = data.points.filter(point => split.value in point.accuracy), family = getComputedStyle(document.body).fontFamily;
  const traces = data.designs.flatMap((design, d) => [true, false].map(uniform => {
    const own = known.filter(point => point.design === d && point.uniform === uniform), symbol = SYMBOLS[d % SYMBOLS.length];
    return { type: "scatter", mode: "markers", name: plain(design.name), legendgroup: d, showlegend: uniform, x: own.map(lost),
      y: own.map(relative), hoverinfo: "text", hovertext: own.map(said),
      marker: { size: 11, symbol: uniform ? symbol : `${symbol}-open`, color: design.color, line: { width: uniform ? .6 : 2,
        color: uniform ? css("--paper") : design.color } } };
  })).filter(trace => trace.x.length || trace.showlegend);
  const edge = front(known);
  const line = { type: "scatter", mode: "lines", name: "Pareto front", x: edge.map(lost), y: edge.map(relative), hoverinfo: "skip",
    line: { color: css("--ink"), width: 1.5, dash: "dot", shape: "hv" } };
  Plotly.react(at("front-plot"), [line, ...traces], {
    height: 460, font: { family, size: 12, color: css("--ink") }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    dragmode: "zoom", hovermode: "closest", margin: { l: 64, r: 16, t: 12, b: 48 },
    hoverlabel: { bgcolor: css("--card"), bordercolor: css("--soft"), align: "left", font: { color: css("--ink"), size: 12, family } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--soft"), activecolor: css("--ink") },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 13 } },
    xaxis: axis({ title: `Accuracy lost on the ${split.value} split, points` }),
    yaxis: axis({ title: `EDP relative to ${plain(data.designs[0].name)}, dense`, type: "log", ...steps(known.map(relative)) }),
  }, { responsive: true, displaylogo: false, modeBarButtons: [["toImage"]], toImageButtonOptions: { format: "svg", filename: "frontier" } });
}
function settle(theme) {
  root.dataset.theme = theme;
  button.textContent = theme === "dark" ? "Light" : "Dark";
  draw();
}
button.addEventListener("click", () => settle(root.dataset.theme === "dark" ? "light" : "dark"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", event => settle(event.matches ? "dark" : "light"));
split.addEventListener("change", draw);
settle(root.dataset.theme);
