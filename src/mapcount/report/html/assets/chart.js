// Charts: two axes, drawn in the pixels there are, again when there are others.

const SERIES = 6, MOST_TICKS = 9;

// Round steps from below `low` to above `high`.
function roundTicks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const first = Math.floor(low / step + 1e-9), last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

// Powers of two between `low` and `high`, fewer where there are many.
function binaryTicks(low, high) {
  const ticks = [];
  for (let tick = 2 ** Math.floor(Math.log2(low)); tick <= high * 1.0001; tick *= 2)
    if (tick >= low * 0.9999) ticks.push(tick);
  while (ticks.length > MOST_TICKS) for (let i = ticks.length - 2; i > 0; i -= 2) ticks.splice(i, 1);
  return ticks;
}

// From a value to a pixel. `log`: powers of two; else `zero`: from zero on.
function scale({ values, from, to, log, zero, format = (v) => String(Number(v.toPrecision(6))) }) {
  let low = Math.min(...values, ...(zero && !log ? [0] : [])), high = Math.max(...values, ...(zero && !log ? [0] : []));
  if (low === high) high = low + (Math.abs(low) || 1);
  const ticks = log ? binaryTicks(low, high) : roundTicks(low, high);
  if (!log) [low, high] = [ticks[0], ticks[ticks.length - 1]];
  const f = log ? Math.log2 : (v) => v;
  return { at: (v) => from + ((f(v) - f(low)) / (f(high) - f(low))) * (to - from), ticks, format };
}

function axes(X, Y, box, label) {
  const every = Math.max(1, Math.ceil((X.ticks.length * 52) / (box.right - box.left)));
  return [
    Y.ticks.map((tick) => [
      el("line", { class: "grid", x1: box.left, x2: box.right, y1: Y.at(tick), y2: Y.at(tick) }),
      el("text", { x: box.left - 6, y: Y.at(tick) + 4, "text-anchor": "end" }, Y.format(tick))]),
    X.ticks.map((tick, i) => [
      el("line", { class: "axis", x1: X.at(tick), x2: X.at(tick), y1: box.bottom, y2: box.bottom + 4 }),
      i % every ? null : el("text", { x: X.at(tick), y: box.bottom + 17, "text-anchor": "middle" }, X.format(tick))]),
    el("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }),
    el("text", { x: box.right, y: box.bottom + 34, "text-anchor": "end" }, label),
  ];
}

// `draw(X, Y, box)` gives what is drawn between the axes; `words` says it.
function chart({ title, note, x, y, height = 300, words, draw, key }) {
  const holder = el("div", { role: "img", "aria-label": words });
  let drawn = 0;
  new ResizeObserver(() => {
    const width = Math.floor(holder.clientWidth);
    if (!width || width === drawn) return;
    drawn = width;
    const box = { left: 52, right: width - 14, top: 26, bottom: height - 38 };
    const X = scale({ ...x, from: box.left + 8, to: box.right - 8 });
    const Y = scale({ ...y, from: box.bottom, to: box.top });
    const parts = [axes(X, Y, box, x.label), draw(X, Y, box)];
    holder.replaceChildren(el("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" }, parts));
  }).observe(holder);
  const caption = el("figcaption", {}, title, note ? el("small", {}, note) : null);
  return el("figure", { class: "chart" }, caption, holder, key || null);
}

// A mark of a series: each has a form of its own, so that colour is not needed.
function shape(series, x, y, title) {
  const r = 4.5, s = r + 1;
  const forms = [
    `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`,
    `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
    `M${x} ${y - s}l${s} ${2 * r}h${-2 * s}z`,
    `M${x} ${y - s}l${s} ${s}l${-s} ${s}l${-s} ${-s}z`,
    `M${x - 1.5} ${y - s}h3v4h4v3h-4v4h-3v-4h-4v-3h4z`,
    `M${x} ${y + s}l${s} ${-2 * r}h${-2 * s}z`,
  ];
  return el("path", { class: `shape s${series % SERIES}`, d: forms[series % SERIES] }, el("title", {}, title));
}

function legend(names) {
  return el("ul", { class: "legend" }, names.map((name, i) => el("li", {},
    el("svg", { viewBox: "0 0 34 12", "aria-hidden": "true" },
      el("path", { class: `series s${i % SERIES}`, d: "M0 6H34" }), shape(i, 17, 6, name)),
    name)));
}

// Lines over a common axis. `series`: name, points [x, y, words, low, high], join: are they a line?
function lines({ series, ...rest }) {
  const words = series.map(({ name, points }) => `${name}: ${points.map(([, , said]) => said).join(", ")}`);
  const line = (X, Y, points) => points.map(([a, b], k) => `${k ? "L" : "M"}${X.at(a)} ${Y.at(b)}`).join("");
  const draw = (X, Y) => series.map(({ points, join = true }, i) => [
    join ? el("path", { class: `series s${i % SERIES}`, d: line(X, Y, points) }) : null,
    points.map(([a, b, said, low, high]) => [
      low === undefined ? null
        : el("line", { class: `whisker s${i % SERIES}`, x1: X.at(a), x2: X.at(a), y1: Y.at(low), y2: Y.at(high) }),
      shape(i, X.at(a), Y.at(b), said)])]);
  const key = legend(series.map(({ name }) => name));
  return chart({ ...rest, draw, key, words: `${rest.title}. ${words.join(". ")}.` });
}
