// Schemes: error against cost, and all numbers.

const rounded = (n) => String(Number(n.toFixed(2)));

// A part of 1 in per cent, so that only nothing looks like nothing, and only all like all.
function percent(share) {
  if (share === 0 || share === 1) return share ? "100 %" : "0";
  const p = 100 * share;
  return p >= 0.005 && p < 99.995 ? `${p.toFixed(2)} %` : share < 0.5 ? "<0.01 %" : ">99.99 %";
}

// Values that differ by more than eight times are better seen on a logarithmic scale.
const wide = (values) => Math.min(...values) > 0 && Math.max(...values) > 8 * Math.min(...values);

// -- error against cost --------------------------------------------------------------------------------

const error = (point) => 100 * point.wrong_share_of_time;

// A step line through the points that no other beats in both.
function frontLine(points, cost, X, Y) {
  const front = points.filter((p) => p.on_front).sort((a, b) => a[cost] - b[cost] || error(b) - error(a));
  const step = (p, i) => (i ? `H${X.at(p[cost])}V${Y.at(error(p))}` : `M${X.at(p[cost])} ${Y.at(error(p))}`);
  return el("path", { class: "front", d: front.map(step).join("") });
}

// Points with their names, which make room for each other. Points at one place share a mark.
function namedPoints(points, cost, X, Y, box) {
  const groups = new Map(), taken = [];
  for (const p of points) {
    const key = `${p[cost]} ${error(p)}`;
    groups.set(key, [...(groups.get(key) || []), p]);
  }
  return [...groups.values()].sort(([a], [b]) => error(a) - error(b)).map((group) => {
    const [p] = group, name = group.map((one) => one.scheme).join(", ");
    const cx = X.at(p[cost]), cy = Y.at(error(p)), width = 6.6 * name.length;
    const left = cx > (box.left + box.right) / 2, from = left ? cx - width : cx;
    let y = cy - 11;
    const hits = () => taken.some((t) => Math.abs(t.y - y) < 13 && t.from < from + width && from < t.to);
    while (hits() && y > box.top) y -= 13;
    taken.push({ y, from, to: from + width });
    const on = group.some((one) => one.on_front) ? " on" : "";
    const title = `${name}: wrong ${percent(p.wrong_share_of_time)}`;
    return [
      el("circle", { class: `point${on}`, cx, cy, r: 6 }, el("title", {}, title)),
      y < cy - 12 ? el("line", { class: "leader", x1: cx, y1: cy - 7, x2: cx, y2: y + 3 }) : null,
      el("text", { class: "name", x: cx + (left ? 4 : -4), y, "text-anchor": left ? "end" : "start" }, name),
    ];
  });
}

function pareto(cost, title, label) {
  const points = data.pareto[cost], costs = points.map((p) => p[cost]);
  const say = (p) => `${p.scheme}: ${rounded(p[cost])} ${label}, wrong ${percent(p.wrong_share_of_time)}`
    + (p.on_front ? ", beaten by none" : "");
  return chart({
    title, note: "share of folio-time in which the answer is wrong",
    words: `${title}. ${points.map(say).join(". ")}`,
    x: { values: costs, zero: true, label, log: wide(costs) },
    y: { values: points.map(error), zero: true, format: (v) => `${Number(v.toPrecision(4))} %` },
    draw: (X, Y, box) => [frontLine(points, cost, X, Y), namedPoints(points, cost, X, Y, box)],
  });
}

// -- numbers -------------------------------------------------------------------------------------------

const front = new Set(Object.values(data.pareto).flat().filter((p) => p.on_front).map((p) => p.scheme));
const bad = (share) => el("span", { class: share ? "bad" : "" }, percent(share));
const column = (title, field, show) => ({
  title, file: field, value: (row) => row[field], show: (row) => (row[field] === null ? "" : show(row[field])),
});

function schemesTable(part) {
  const scheme = (row) => [el("code", {}, row.scheme), front.has(row.scheme) ? " ●" : ""];
  byId("schemes").replaceChildren(sortable({
    name: "schemes", caption: "Schemes", filtered: false, by: { title: "false shared, time", down: false },
    rows: data.rows.filter((row) => row.part === part),
    columns: [
      { title: "scheme", value: (row) => row.scheme, words: true, show: scheme },
      column("bytes a folio", "bytes", rounded),
      column("events", "events", (n) => n.toLocaleString("en")),
      column("updates an event", "updates", rounded),
      column("locked an event", "locked", rounded),
      column("false shared, events", "falsely_shared_events", percent),
      column("false shared, time", "falsely_shared_time", percent),
      column("false exclusive, events", "falsely_exclusive_events", bad),
      column("false exclusive, time", "falsely_exclusive_time", bad),
      column("copies in 1000", "copies", rounded),
    ],
  }));
}

byId("charts").append(
  pareto("bytes", "Wrong answers against memory", "bytes a large folio"),
  pareto("updates", "Wrong answers against work", "counter updates an event"));
byId("parts").hidden = false;
for (const part of new Set(data.rows.map((row) => row.part))) {
  const change = () => schemesTable(part), checked = part === "all";
  byId("parts").append(el("label", {},
    el("input", { type: "radio", name: "part", value: part, checked, onchange: change }), part));
}
byId("words").append(...data.rows.filter((row) => row.part === "all").flatMap((row) =>
  [el("dt", {}, row.scheme), el("dd", {}, row.story)]));
schemesTable("all");
