// Schemes: error against cost, and all numbers.

const percent = (share) => {
  if (share === null) return null;
  if (share === 0 || share === 1) return share ? "100 %" : "0";
  const p = 100 * share;
  return p >= 0.005 && p < 99.995 ? `${p.toFixed(2)} %` : share < 0.5 ? "<0.01 %" : ">99.99 %";
};
const rounded = (n) => String(Number(n.toFixed(2)));

// Values that differ by more than eight times are better seen on a logarithmic scale.
const wide = (values) => Math.min(...values) > 0 && Math.max(...values) > 8 * Math.min(...values);

// Points with their names; those that no other beats in both are joined by a step line.
function pareto(cost, title, label) {
  const points = data.pareto[cost];
  const error = (p) => 100 * p.wrong_share_of_time;
  const groups = new Map();
  for (const p of points) {
    const key = `${p[cost]} ${p.wrong_share_of_time}`;
    groups.set(key, [...(groups.get(key) || []), p]);
  }
  return chart({
    title, note: "share of folio-time in which the answer is wrong", words: `${title}. ` + points.map((p) => `${p.scheme}: ${rounded(p[cost])} ${label}, wrong ${percent(p.wrong_share_of_time)}${p.on_front ? ", beaten by none" : ""}`).join(". "),
    x: { values: points.map((p) => p[cost]), zero: true, label, log: wide(points.map((p) => p[cost])) },
    y: { values: [...points.map(error), 0], zero: true, format: (v) => `${Number(v.toPrecision(4))} %` },
    draw: (parts, X, Y, box) => {
      const front = points.filter((p) => p.on_front).sort((a, b) => a[cost] - b[cost] || error(b) - error(a));
      parts.push(el("path", { class: "front", d: front.map((p, i) => (i ? `H${X.at(p[cost])}V${Y.at(error(p))}` : `M${X.at(p[cost])} ${Y.at(error(p))}`)).join("") }));
      const taken = [];
      for (const group of [...groups.values()].sort((a, b) => error(a[0]) - error(b[0]))) {
        const p = group[0], name = group.map((one) => one.scheme).join(", "), cx = X.at(p[cost]), cy = Y.at(error(p));
        parts.push(el("circle", { class: `point${group.some((one) => one.on_front) ? " on" : ""}`, cx, cy, r: 6 }, el("title", {}, `${name}: ${rounded(p[cost])} ${label}, wrong ${percent(p.wrong_share_of_time)}`)));
        const left = cx > (box.left + box.right) / 2, width = 6.6 * name.length;
        let y = cy - 11;
        const from = left ? cx - width : cx, hits = () => taken.some((t) => Math.abs(t.y - y) < 13 && t.from < from + width && from < t.to);
        while (hits() && y > box.top) y -= 13;
        taken.push({ y, from, to: from + width });
        if (y < cy - 12) parts.push(el("line", { class: "leader", x1: cx, y1: cy - 7, x2: cx, y2: y + 3 }));
        parts.push(el("text", { class: "name", x: cx + (left ? 4 : -4), y, "text-anchor": left ? "end" : "start" }, name));
      }
    },
  });
}

function schemesTable(part) {
  const column = (title, field, show) => ({ title, file: field, value: (row) => row[field], show: (row) => (row[field] === null ? "" : show(row[field])) });
  const front = new Set([...data.pareto.bytes, ...data.pareto.updates].filter((p) => p.on_front).map((p) => p.scheme));
  byId("schemes").replaceChildren(sortable({
    name: "schemes", caption: "Schemes", filtered: false, by: { title: "false shared, time", down: false },
    rows: data.rows.filter((row) => row.part === part),
    columns: [
      { title: "scheme", value: (row) => row.scheme, words: true, show: (row) => [el("code", {}, row.scheme), front.has(row.scheme) ? " ●" : ""] },
      column("bytes a folio", "bytes", (v) => rounded(v)), column("events", "events", (v) => v.toLocaleString("en")),
      column("updates an event", "updates", rounded), column("locked an event", "locked", rounded),
      column("false shared, events", "falsely_shared_events", percent), column("false shared, time", "falsely_shared_time", percent),
      column("false exclusive, events", "falsely_exclusive_events", (v) => el("span", { class: v ? "bad" : "" }, percent(v))), column("false exclusive, time", "falsely_exclusive_time", (v) => el("span", { class: v ? "bad" : "" }, percent(v))),
      column("copies in 1000", "copies", rounded),
    ],
  }));
}

byId("charts").append(pareto("bytes", "Wrong answers against memory", "bytes a large folio"), pareto("updates", "Wrong answers against work", "counter updates an event"));
const parts = [...new Set(data.rows.map((row) => row.part))];
byId("parts").hidden = false;
byId("parts").append(...parts.map((part) => el("label", {}, el("input", { type: "radio", name: "part", value: part, checked: part === "all", onchange: () => schemesTable(part) }), part)));
for (const row of data.rows.filter((one) => one.part === "all")) byId("words").append(el("dt", {}, row.scheme), el("dd", {}, row.story));
schemesTable("all");
