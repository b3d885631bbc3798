// Charts: two axes, drawn in the pixels there are, again when there are others.

const SERIES = 6;

// A scale from a value to a pixel, with round ticks.
function scale({ values, from, to, log, zero, format }) {
  let low = Math.min(...values), high = Math.max(...values);
  if (zero && !log) { low = Math.min(0, low); high = Math.max(0, high); }
  if (low === high) { high = low + (log ? low : Math.abs(low) || 1); }
  const ticks = [];
  if (log) {
    for (let tick = 2 ** Math.floor(Math.log2(low)); tick <= high * 1.0001; tick *= 2) if (tick >= low * 0.9999) ticks.push(tick);
    while (ticks.length > 9) for (let i = ticks.length - 2; i > 0; i -= 2) ticks.splice(i, 1);
  } else {
    const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
    high = Math.ceil(high / step - 1e-9) * step;
    low = Math.floor(low / step + 1e-9) * step;
    for (let i = Math.round(low / step); i <= Math.round(high / step); i++) ticks.push(i * step);
  }
  const f = log ? Math.log2 : (v) => v;
  return { at: (v) => from + ((f(v) - f(low)) / (f(high) - f(low))) * (to - from), ticks, format: format || ((v) => String(Number(v.toPrecision(6)))) };
}

// `draw(parts, X, Y, box)` adds the data to an empty pair of axes.
function chart({ title, note, x, y, height = 300, words, draw, legend }) {
  const holder = el("div", { role: "img", "aria-label": words });
  const figure = el("figure", { class: "chart" }, el("figcaption", {}, title, note ? el("small", {}, note) : null), holder, legend || null);
  let drawn = 0;
  new ResizeObserver(() => {
    const width = Math.floor(holder.clientWidth);
    if (!width || width === drawn) return;
    drawn = width;
    const box = { left: 52, right: width - 14, top: 12, bottom: height - 38 };
    const X = scale({ ...x, from: box.left + 8, to: box.right - 8 }), Y = scale({ ...y, from: box.bottom, to: box.top });
    const room = Math.max(1, Math.ceil((X.ticks.length * 52) / (box.right - box.left)));
    const parts = [
      Y.ticks.map((tick) => [el("line", { class: "grid", x1: box.left, x2: box.right, y1: Y.at(tick), y2: Y.at(tick) }), el("text", { x: box.left - 6, y: Y.at(tick) + 4, "text-anchor": "end" }, Y.format(tick))]),
      X.ticks.map((tick, i) => [el("line", { class: "axis", x1: X.at(tick), x2: X.at(tick), y1: box.bottom, y2: box.bottom + 4 }), i % room ? null : el("text", { x: X.at(tick), y: box.bottom + 17, "text-anchor": "middle" }, X.format(tick))]),
      el("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }),
      el("text", { x: box.right, y: height - 4, "text-anchor": "end" }, x.label),
    ];
    draw(parts, X, Y, box);
    holder.replaceChildren(el("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" }, parts));
  }).observe(holder);
  return figure;
}

// A mark of a series: each has a form of its own, so that colour is not needed.
function shape(series, x, y, title) {
  const r = 4.5, paths = [
    `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`, `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
    `M${x} ${y - r - 1}l${r + 1} ${2 * r}h${-2 * r - 2}z`, `M${x} ${y - r - 1}l${r + 1} ${r + 1}l${-r - 1} ${r + 1}l${-r - 1} ${-r - 1}z`,
    `M${x - 1.5} ${y - r - 1}h3v${r - 0.5}h${r - 0.5}v3h${-r + 0.5}v${r - 0.5}h-3v${-r + 0.5}h${-r + 0.5}v-3h${r - 0.5}z`, `M${x} ${y + r + 1}l${r + 1} ${-2 * r}h${-2 * r - 2}z`,
  ];
  return el("path", { class: `shape s${series % SERIES}`, d: paths[series % SERIES] }, el("title", {}, title));
}

function legend(names) {
  return el("ul", { class: "legend" }, names.map((name, i) => el("li", {},
    el("svg", { viewBox: "0 0 34 12", "aria-hidden": "true" }, el("path", { class: `series s${i % SERIES}`, d: "M0 6H34" }), shape(i, 17, 6, name)), name)));
}

// Lines over a common axis. `series`: name and points [x, y, title, low, high].
function lines({ series, ...rest }) {
  const words = series.map(({ name, points }) => `${name}: ${points.map(([, , title]) => title).join(", ")}`).join(". ");
  return chart({ ...rest, words: `${rest.title}. ${words}.`, legend: legend(series.map(({ name }) => name)), draw: (parts, X, Y) => {
    series.forEach(({ points, join = true }, i) => {
      if (join) parts.push(el("path", { class: `series s${i % SERIES}`, d: points.map(([a, b], k) => `${k ? "L" : "M"}${X.at(a)} ${Y.at(b)}`).join("") }));
      for (const [a, b, title, low, high] of points) {
        if (low !== undefined) parts.push(el("line", { class: `whisker s${i % SERIES}`, x1: X.at(a), x2: X.at(a), y1: Y.at(low), y2: Y.at(high) }));
        parts.push(shape(i, X.at(a), Y.at(b), title));
      }
    });
  } });
}
