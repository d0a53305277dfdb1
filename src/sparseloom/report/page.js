"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const { designs, kinds, outcomes, roofs, styles } = data;
const state = { metric: "edp", scale: "relative", log: false, times: false, by: "block", kind: null };
const root = document.documentElement, at = id => document.getElementById(id);
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "star", "hexagon"];
const METRICS = {
  edp: { title: "EDP", unit: "pJ·cycles", of: row => row.edp, power: 2 },  // n instances: n times the energy, n times the cycles
  cycles: { title: "Cycles", unit: "", of: row => row.cycles, power: 1 },
  energy: { title: "Energy", unit: "µJ", of: row => row.energy_pj / 1e6, power: 1 },
};

// numbers and texts
const TIMES = "\u00d7", DASH = "\u2013";
const figures = (value, digits = 3) => Number(value.toPrecision(digits)).toLocaleString("en-US", { maximumFractionDigits: 6 });
const whole = value => Math.round(value).toLocaleString("en-US");
const percent = value => value === null ? DASH : `${(100 * value).toFixed(1)}%`;
const times = value => (value >= 100 ? whole(value) : value.toPrecision(3)) + TIMES;
const UP = "⁰¹²³⁴⁵⁶⁷⁸⁹";
function power(value) {
  const [head, exponent] = value.toExponential(2).split("e");
  return `${head}${TIMES}10${exponent.replace("+", "").replace("-", "⁻").replace(/\d/g, digit => UP[digit])}`;
}
const amount = value => value >= 1000 ? whole(value) : figures(value);
const ENERGY = [[1e12, "J"], [1e9, "mJ"], [1e6, "µJ"], [1e3, "nJ"], [1, "pJ"]];
function joules(pj) {
  const [size, unit] = ENERGY.find(([size]) => pj >= size) || [1, "pJ"];
  return `${amount(pj / size)} ${unit}`;
}
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
const plain = text => String(text).replace(/[&<>]/g, letter => ESCAPES[letter]);  // Plotly reads tags in its texts
const run = (kind, d) => kind.runs[d] === null ? null : outcomes[kind.runs[d]];
const css = name => getComputedStyle(root).getPropertyValue(name).trim();
const shade = style => root.dataset.theme === "dark" ? style.dark : style.light;

function make(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(options)) {
    if (key in node) node[key] = value; else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}
function swatch(color, hatched = false) {
  const node = make("span", { className: hatched ? "swatch hatched" : "swatch" });
  node.style.backgroundColor = color;
  return node;
}

// plots
const CONFIG = {
  responsive: true, displaylogo: false, modeBarButtons: [["toImage"]],
  toImageButtonOptions: { format: "svg", filename: "sparseloom" },
};
const axis = extra => ({
  gridcolor: css("--line"), linecolor: css("--soft"), zeroline: false, ticks: "", fixedrange: true, automargin: true,
  tickfont: { size: 12 }, ...extra, title: { text: extra.title, font: { size: 13 }, standoff: 10 },
});
// 1, 2, 5, 10 ... for a log axis, in full
function steps(values, suffix = "") {
  const at = [], [low, high] = [Math.min(...values), Math.max(...values)];
  for (let ten = Math.floor(Math.log10(low)) - 1; ten <= Math.ceil(Math.log10(high)); ten++)
    for (const head of [1, 2, 5]) at.push(Number(`${head}e${ten}`));
  return { tickvals: at, ticktext: at.map(each => each.toLocaleString("en-US", { maximumSignificantDigits: 3 }) + suffix) };
}
const layout = extra => ({
  font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: css("--ink") },
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: false, hovermode: "closest",
  margin: { l: 64, r: 16, t: 12, b: 48 },
  hoverlabel: { bgcolor: css("--card"), bordercolor: css("--soft"), align: "left",
    font: { color: css("--ink"), size: 12, family: getComputedStyle(document.body).fontFamily } },
  modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--soft"), activecolor: css("--ink") },
  legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 13 } }, ...extra,
});
function draw(id, traces, extra) {
  const plot = at(id), first = !plot.data;
  Plotly.react(plot, traces, layout(extra), CONFIG);
  if (first) plot.on("plotly_click", event => {
    const kind = event.points[0].customdata;
    if (kind !== undefined && kind !== null) choose(kind, id !== "layers-plot");
  });
}

function height(kind, d) {
  const metric = METRICS[state.metric], own = run(kind, d), first = run(kind, 0);
  if (!own) return null;
  if (state.scale === "absolute") return metric.of(own) * (state.times ? kind.instances ** metric.power : 1);
  return first && metric.of(first) ? metric.of(own) / metric.of(first) : null;
}
function hover(kind, d) {
  const row = run(kind, d), first = run(kind, 0);
  const ratio = first && d && first.edp ? ` (${times(row.edp / first.edp)} ${plain(designs[0].name)})` : "";
  return `<b>${plain(designs[d].name)}</b>  ${plain(kind.label)}<br>EDP ${power(row.edp)} pJ·cycles${ratio}` +
    `<br>${whole(row.cycles)} cycles, ${joules(row.energy_pj)}<br>bound by ${plain(row.bottleneck)}`;
}
function drawLayers() {
  const metric = METRICS[state.metric], relative = state.scale === "relative";
  const traces = designs.map((design, d) => {
    const shown = kinds.map((_, k) => k).filter(k => height(kinds[k], d) !== null);
    return {
      type: "bar", name: plain(design.name), x: shown, y: shown.map(k => height(kinds[k], d)), customdata: shown,
      hovertext: shown.map(k => hover(kinds[k], d)), hoverinfo: "text", marker: { color: design.color },
    };
  });
  const unit = metric.unit ? ` (${metric.unit})` : "", of = state.times ? ", all instances" : "";
  const title = relative ? `${metric.title} relative to ${plain(designs[0].name)}` : metric.title + of + unit;
  const shapes = relative ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: 1, y1: 1,
    line: { color: css("--soft"), width: 1, dash: "dash" } }] : [];
  if (state.kind !== null) shapes.push({ type: "rect", yref: "paper", x0: state.kind - .5, x1: state.kind + .5, y0: 0, y1: 1,
    fillcolor: css("--pick"), line: { width: 0 }, layer: "below" });
  at("layers-plot").style.minWidth = `${Math.min(6000, 100 + kinds.length * Math.max(16, 6 * designs.length))}px`;
  draw("layers-plot", traces, {
    barmode: "group", bargap: .22, bargroupgap: 0, showlegend: true, shapes,
    xaxis: axis({ tickvals: kinds.map((_, k) => k), ticktext: kinds.map(kind => plain(kind.label)), tickangle: -40,
      range: [-.6, kinds.length - .4], showgrid: false, tickfont: { size: 11 } }),
    yaxis: axis({ title, type: state.log ? "log" : "linear", rangemode: "tozero", separatethousands: true,
      exponentformat: state.metric === "edp" ? "power" : "none", ticksuffix: relative ? TIMES : "",
      ...state.log && relative ? steps(traces.flatMap(trace => trace.y), TIMES) : {} }),
  });
}

// stacks: amounts by part of each design
function energyOf(d, chosen) {
  const found = {};
  for (const [kind, instances] of chosen) {
    const row = run(kind, d);
    for (const charge of row ? row.charges : []) {
      found[charge[state.by]] = (found[charge[state.by]] || 0) + instances * charge.energy_pj;
    }
  }
  return found;
}
function drawStacks(id, amounts, parts, title, total, kind = null) {
  const sums = amounts.map(each => Object.values(each).reduce((sum, value) => sum + value, 0));
  const order = designs.map((_, d) => designs.length - 1 - d), most = Math.max(...sums) || 1;
  const traces = parts.filter(part => amounts.some(each => each[part.name])).map(part => {
    const shown = order.filter(d => amounts[d][part.name]);
    return {
      type: "bar", orientation: "h", name: plain(part.label), y: shown.map(d => designs.length - 1 - d), width: .62,
      x: shown.map(d => amounts[d][part.name]), customdata: shown.map(() => kind), hoverinfo: "text",
      hovertext: shown.map(d => `<b>${plain(designs[d].name)}</b>  ${plain(part.label)}<br>` +
        `${total(amounts[d][part.name])}, ${percent(amounts[d][part.name] / sums[d])}`),
      marker: { color: shade(part), line: { color: css("--paper"), width: 1 },
        pattern: part.hatched ? { shape: "/", fillmode: "overlay", fgcolor: "rgba(255,255,255,.8)", size: 5, solidity: .3 } : {} },
    };
  });
  const annotations = designs.map((_, d) => ({ x: sums[d], y: designs.length - 1 - d, xanchor: "left", showarrow: false,
    xshift: 4, font: { size: 12 }, text: sums[d] ? total(sums[d]) : "does not run it" }));
  draw(id, traces, {
    barmode: "stack", showlegend: false, annotations, height: 84 + 42 * designs.length,
    xaxis: axis({ title, range: [0, most * 1.2], separatethousands: true, exponentformat: "none" }),
    yaxis: axis({ tickvals: order.map((_, y) => y), ticktext: order.map(d => plain(designs[d].name)), showgrid: false,
      range: [-.6, designs.length - .4], tickfont: { size: 13 } }),
  });
  return traces.map(trace => trace.name);
}
function energyStacks(id, chosen, kind) {
  const inPj = designs.map((_, d) => energyOf(d, chosen));
  const most = Math.max(...inPj.map(each => Object.values(each).reduce((sum, value) => sum + value, 0)));
  const [size, unit] = ENERGY.find(([size]) => most >= 10 * size) || [1, "pJ"];
  const amounts = inPj.map(each => Object.fromEntries(Object.entries(each).map(([name, pj]) => [name, pj / size])));
  drawStacks(id, amounts, styles[state.by], `Energy (${unit})`, value => `${amount(value)} ${unit}`, kind);
  return new Set(inPj.flatMap(Object.keys));
}
function drawEnergy() {
  const names = energyStacks("energy-all", kinds.filter(kind => kind.common).map(kind => [kind, kind.instances]));
  const kind = kinds[state.kind];
  if (at("energy-layer").hidden === Boolean(kind)) {
    at("energy-layer").hidden = !kind;
    at("energy-pair").classList.toggle("pair", Boolean(kind));
    Plotly.Plots.resize(at("energy-all"));
  }
  at("energy-title").textContent = kind ? `${kind.names[0]}, one instance` : "";
  if (kind) energyStacks("energy-one", [[kind, 1]], state.kind).forEach(name => names.add(name));
  legend("energy-legend", styles[state.by].filter(part => names.has(part.name)));
}
function drawArea() {
  const amounts = designs.map(design => Object.fromEntries(design.blocks.map(block => [block.name, block.area_um2 / 1e6])));
  drawStacks("area-plot", amounts, styles.block, "Area (mm²)", value => `${value >= 100 ? whole(value) : value.toPrecision(3)} mm²`);
  legend("area-legend", styles.block.filter(part => amounts.some(each => each[part.name])));
}
function legend(id, parts) {
  at(id).replaceChildren(...parts.map(part => make("li", {}, swatch(shade(part), part.hatched), part.label)));
}

function drawRoofline() {
  const points = designs.map((_, d) => kinds.map((_, k) => k).filter(k => (run(kinds[k], d) || {}).dram_bits > 0));
  const reach = (k, d) => run(kinds[k], d).computes / (run(kinds[k], d).dram_bits / 8);
  const rate = (k, d) => run(kinds[k], d).computes / run(kinds[k], d).cycles;
  const all = designs.flatMap((_, d) => points[d].map(k => reach(k, d)));
  const ends = all.length ? [Math.min(...all) / 1.6, Math.max(...all) * 1.6] : [1, 10];
  const lines = roofs.map(macs => ({ type: "scatter", mode: "lines", x: ends, y: [macs, macs], hoverinfo: "skip",
    showlegend: false, line: { color: css("--soft"), width: 1.5, dash: "dash" } }));
  const traces = designs.map((design, d) => ({
    type: "scatter", mode: "markers", name: plain(design.name), x: points[d].map(k => reach(k, d)),
    y: points[d].map(k => rate(k, d)), customdata: points[d], hoverinfo: "text",
    hovertext: points[d].map(k => `${hover(kinds[k], d)}<br>${figures(reach(k, d))} computes a byte, ` +
      `${figures(rate(k, d))} computes a cycle`),
    marker: { color: design.color, symbol: SYMBOLS[d % SYMBOLS.length], opacity: .85,
      size: points[d].map(k => k === state.kind ? 16 : 10),
      line: { width: points[d].map(k => k === state.kind ? 2 : .6),
        color: points[d].map(k => css(k === state.kind ? "--ink" : "--paper")) } },
  }));
  draw("roofline-plot", [...lines, ...traces], {
    height: 400, annotations: roofs.map(macs => ({ x: 0, xref: "paper", xanchor: "left", y: Math.log10(macs), yanchor: "bottom",
      text: `${whole(macs)} MACs`, showarrow: false, font: { size: 12, color: css("--soft") } })),
    xaxis: axis({ title: "Dense computes per byte moved at the outermost level", type: "log", range: ends.map(Math.log10),
      ...steps(ends) }),
    yaxis: axis({ title: "Dense computes per cycle", type: "log", ...steps([...roofs, ...traces.flatMap(trace => trace.y)]) }),
  });
}

// a layer at several densities of its weights
function drawSweep() {
  if (!data.sweep) return;
  const { by_design: own, reference, weights } = data.sweep, shown = own.map(dots => dots.filter(dot => dot.density > 0));
  const densities = [...new Set(shown.flat().map(dot => dot.density))].sort((a, b) => a - b);
  const said = (dot, d) => `<b>${plain(designs[d].name)}</b>  weights ${plain(dot.weights)}` +
    `<br>EDP ${times(dot.edp)}, speed ${times(dot.speed)}<br>${whole(dot.row.cycles)} cycles, ${joules(dot.row.energy_pj)}` +
    `<br>sees ${Object.entries(dot.row.seen).map(([tensor, sparsity]) => `${tensor}: ${plain(sparsity)}`).join("; ")}` +
    (dot.row.swapped ? " (operands swapped)" : "") + (dot.row.proven ? "" : `<br>${plain(proof(dot.row))}`);
  const trace = (key, d, family) => {
    const dots = shown[d].filter(dot => dot.family === family), { color } = designs[d], symbol = SYMBOLS[d % SYMBOLS.length];
    return {
      type: "scatter", mode: family ? "lines+markers" : "markers", name: plain(designs[d].name), showlegend: family,
      legendgroup: d, x: dots.map(dot => dot.density), y: dots.map(dot => dot[key]), hoverinfo: "text",
      hovertext: dots.map(dot => said(dot, d)), line: { color, width: 2 },
      marker: { color, size: 9, symbol: family ? symbol : `${symbol}-open`, line: { width: 2, color } },
    };
  };
  const ideal = { type: "scatter", mode: "lines", x: densities, y: densities.map(density => 1 / density), hoverinfo: "skip",
    showlegend: false, line: { color: css("--soft"), width: 1, dash: "dash" } };
  for (const [key, title] of [["edp", "EDP"], ["speed", "Speed"]]) {
    const traces = designs.flatMap((_, d) => [trace(key, d, true), trace(key, d, false)]).filter(trace => trace.x.length);
    draw(`sweep-${key}`, key === "speed" ? [ideal, ...traces] : traces, {
      height: 360,
      xaxis: axis({ title: "Density of the weights", type: "log", tickvals: densities, ticktext: densities.map(each => `${figures(100 * each)}%`),
        tickangle: 0 }),
      yaxis: axis({ title: `${title} relative to ${plain(reference)}, ${plain(weights)}`, type: "log",
        ...steps(traces.flatMap(trace => trace.y), TIMES) }),
    });
  }
}

// the chosen layer
const line = (name, ...cells) => make("tr", {}, make("th", { scope: "row" }, name), ...cells);
const FACTS = [
  ["cycles", row => whole(row.cycles)],
  ["energy", row => joules(row.energy_pj)],
  ["EDP", row => power(row.edp) + " pJ·cycles"],
  ["utilisation", row => percent(row.utilization)],
  ["padding", row => percent(row.padding)],
  ["runs it as", row => `${row.einsum}; ${Object.entries(row.shape).map(([rank, size]) => `${rank} = ${whole(size)}`).join(", ")}`],
  ["operands", row => row.swapped ? "swapped" : "in their order"],
  ["seen of them", row => Object.entries(row.seen).map(([tensor, sparsity]) => `${tensor}: ${sparsity}`).join("; ")],
  ["bottleneck", row => row.bound_by],
  ["mapping", row => proof(row)],
];
function proof(row) {
  const of = ` of ${whole(row.mapspace)} mappings, ${figures(row.seconds, 2)}\u00a0s`;
  if (row.proven) return "proven the best" + of;
  return (row.gap === null ? "no bound is known" : `at most ${percent(row.gap)} above the best`) + of;
}
function refusal(kind, d) {
  const own = data.refused.find(each => each.design === designs[d].name && each.layers.includes(kind.names[0]));
  return "does not run it" + (own ? ": " + own.why.join("; ") : "");
}
function drawLayer() {
  const kind = kinds[state.kind], panel = at("layer-panel");
  at("layer-choice").value = kind ? state.kind : "";
  if (!kind) return panel.replaceChildren(make("p", { className: "soft" },
    "Click a bar or a point, or choose a layer here: what every design makes of it, side by side."));
  const also = kind.names.length > 1 ? `${kind.names.join(", ")}: alike to every design. ` : "";
  const many = kind.instances > 1 ? `The network has ${kind.instances}; what follows is of one.` : "The network has one.";
  const head = designs.map(design => make("th", {}, swatch(design.color), design.name));
  const rows = FACTS.map(([name, say]) => line(name, ...designs.map((_, d) => {
    const row = run(kind, d);
    return make("td", {}, row ? say(row) : name === "mapping" ? refusal(kind, d) : DASH);
  })));
  const nests = make("div", { className: "nests" }, ...designs.map((design, d) => make("figure", {},
    make("figcaption", {}, swatch(design.color), design.name),
    make("pre", { tabIndex: 0 }, run(kind, d) ? run(kind, d).loopnest : refusal(kind, d)))));
  nests.style.gridTemplateColumns = `repeat(${designs.length}, minmax(250px, 1fr))`;
  panel.replaceChildren(
    make("p", { className: "soft" }, also + many),
    make("div", { className: "scroll" }, make("table", { className: "facts" },
      make("thead", {}, make("tr", {}, make("td"), ...head)), make("tbody", {}, ...rows))), nests);
}
function choose(kind, show) {
  state.kind = kind;
  drawLayers(); drawLayer(); drawEnergy(); drawRoofline();
  if (show) at("layer").scrollIntoView({ behavior: "smooth", block: "start" });
}

const drawAll = () => [drawLayers, drawLayer, drawSweep, drawEnergy, drawRoofline, drawArea].forEach(drawing => drawing());

function settle(theme) {
  root.dataset.theme = theme;
  at("theme").textContent = theme === "dark" ? "Light" : "Dark";
  drawAll();
}
function listen() {
  for (const name of ["metric", "scale", "by"]) document.querySelectorAll(`input[name=${name}]`).forEach(input =>
    input.addEventListener("change", () => { state[name] = input.value; refresh(); }));
  for (const name of ["log", "times"]) at(name).addEventListener("change", () => { state[name] = at(name).checked; refresh(); });
  at("layer-choice").append(...kinds.map((kind, k) => make("option", { value: k }, kind.label)));
  at("layer-choice").addEventListener("change", event => choose(event.target.value === "" ? null : Number(event.target.value)));
  at("theme").addEventListener("click", () => settle(root.dataset.theme === "dark" ? "light" : "dark"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", event => settle(event.matches ? "dark" : "light"));
}
function refresh() {
  at("times").disabled = state.scale === "relative";
  drawLayers(); drawEnergy();
}
listen();
settle(root.dataset.theme);
