// A benchmark: cost by folio size as measured, counter updates as simulated, changes as published.

const KERNELS = { "page-mapcount": "with per-page counts", "no-page-mapcount": "without" };
const CHANGES = { "owner-tracking": "owner tracking alone", "no-page-mapcount": "with NO_PAGE_MAPCOUNT" };
const rows = data.stories.flatMap((story) => story.rows.map((row) => ({ ...row, story: story.name })));
const perPage = (row, field) => row.ns[field] / data.nr_pages;
const updates = (row, kernel) => Object.values(row.updates_per_page[kernel]).reduce((sum, n) => sum + n, 0);
const number = (v) => String(Number(v.toPrecision(3)));
const axis = (series) => ({
  values: series.flatMap(({ points }) => points.map(([x]) => x)), log: true, label: "folio size", format: size,
});
const heights = (series) => series.flatMap(({ points }) => points.map(([, y]) => y));

function measured() {
  const point = (row) => [
    row.folio_kib, row.ns_per_page, `${size(row.folio_kib)} ${number(row.ns_per_page)} ns`,
    perPage(row, "low"), perPage(row, "high"),
  ];
  const series = data.stories.flatMap((story) => ["pte", "pmd"].map((level) => ({
    name: level === "pte" ? story.name : `${story.name}, by a PMD`,
    points: story.rows.filter((row) => row.mapped_by === level && row.ns_per_page !== null).map(point),
    join: level === "pte",
  }))).filter(({ points }) => points.length);
  if (!series.length) return null;
  const values = series.flatMap(({ points }) => points.flatMap(([, , , low, high]) => [low, high]));
  return lines({
    title: "Measured: time for each page", note: "nanoseconds, median and range of the runs", series,
    x: axis(series), y: { values, zero: true },
  });
}

function counted(story) {
  const kept = story.rows.filter((row) => row.mapped_by === "pte");
  const point = (row, n) => [row.folio_kib, n, `${size(row.folio_kib)} ${number(n)}`];
  const series = Object.entries(KERNELS).map(([kernel, name]) =>
    ({ name, points: kept.map((row) => point(row, updates(row, kernel))) }));
  if (kept.length < 2 || !heights(series).some(Boolean)) return null;
  return lines({
    title: `${story.name}: counter updates for each page`, note: "as simulated, folios mapped by PTEs", series,
    x: axis(series), y: { values: heights(series), zero: true },
  });
}

function publishedChange(story) {
  const found = data.published.find((one) => one.name === story.name);
  if (!found) return null;
  const point = (p, field) => [p.folio_kib, p[field], `${size(p.folio_kib)} ${p[field]} %`];
  const series = Object.entries(CHANGES).map(([field, name]) =>
    ({ name, points: found.points.map((p) => point(p, field)) }));
  return lines({
    title: `${story.name}: published change of run time`, note: "against the kernel before, on another machine",
    series, x: axis(series), y: { values: heights(series), zero: true, format: (v) => `${v} %` },
  });
}

// A column; `show` is for values that are there.
const column = (title, file, value, show) => ({
  title, file, value, show: (row) => (value(row) === null ? "" : show(value(row))),
});
const share = (part) => `${number(100 * part)} %`;

const charts = [measured(), ...data.stories.flatMap((story) => [counted(story), publishedChange(story)])];
byId("charts").append(...charts.filter(Boolean));
byId("rows").append(sortable({
  name: "bench", caption: "Numbers", filtered: false, by: { title: "folio", down: false }, rows,
  columns: [
    { title: "story", value: (row) => row.story, words: true },
    column("folio", "folio_kib", (row) => row.folio_kib, size),
    { title: "mapped by", value: (row) => row.mapped_by.toUpperCase(), words: true },
    column("ns a page", "ns_per_page", (row) => row.ns_per_page, number),
    column("lowest", "ns_low", (row) => perPage(row, "low"), number),
    column("highest", "ns_high", (row) => perPage(row, "high"), number),
    ...Object.entries(KERNELS).map(([kernel, words]) =>
      column(`updates ${words}`, `updates_${kernel}`, (row) => updates(row, kernel), number)),
    column("copied", "copied", (row) => (row.copied ? row.copied.observed : null), share),
    column("copied, simulated", "copied_simulated", (row) => (row.copied ? row.copied.simulated : null), share),
    column("published", "published_percent", (row) => row.published_percent["no-page-mapcount"],
      (v) => `${v > 0 ? "+" : ""}${v} %`),
  ],
}));
