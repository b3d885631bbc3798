// A benchmark: cost by folio size as measured, counter updates as simulated, changes as published.

const UPDATES = { "page-mapcount": "with per-page counts", "no-page-mapcount": "without" };
const folio = (kib) => size(kib);
const rows = data.stories.flatMap((story) => story.rows.map((row) => ({ ...row, story: story.name })));
const perPage = (row, field) => row.ns[field] / data.nr_pages;
const sum = (updates) => updates.page + updates.locked + updates.atomic;
const axis = (values) => ({ values, log: true, label: "folio size", format: folio });
const number = (v) => String(Number(v.toPrecision(3)));

function measured() {
  const series = [];
  for (const story of data.stories) {
    const seen = story.rows.filter((row) => row.ns_per_page !== null);
    const points = (kept) => kept.map((row) => [row.folio_kib, row.ns_per_page, `${folio(row.folio_kib)} ${number(row.ns_per_page)} ns`, perPage(row, "low"), perPage(row, "high")]);
    const ptes = seen.filter((row) => row.mapped_by === "pte"), pmds = seen.filter((row) => row.mapped_by === "pmd");
    if (ptes.length) series.push({ name: story.name, points: points(ptes) });
    if (pmds.length) series.push({ name: `${story.name}, by a PMD`, points: points(pmds), join: false });
  }
  if (!series.length) return null;
  const all = series.flatMap(({ points }) => points);
  return lines({ title: "Measured: time for each page", note: "nanoseconds, median and range of the runs", series,
    x: axis(all.map(([x]) => x)), y: { values: all.flatMap(([, , , low, high]) => [low, high]), zero: true, label: "ns" } });
}

function counted(story) {
  const kept = story.rows.filter((row) => row.mapped_by === "pte");
  const series = Object.entries(UPDATES).filter(([kernel]) => kept.every((row) => row.updates_per_page[kernel])).map(([kernel, name]) => ({ name, points: kept.map((row) => {
    const n = sum(row.updates_per_page[kernel]);
    return [row.folio_kib, n, `${folio(row.folio_kib)} ${number(n)}`];
  }) }));
  if (!series.some(({ points }) => points.some(([, y]) => y)) || kept.length < 2) return null;
  return lines({ title: `${story.name}: counter updates for each page`, note: "as simulated, folios mapped by PTEs", series,
    x: axis(kept.map((row) => row.folio_kib)), y: { values: series.flatMap(({ points }) => points.map(([, y]) => y)), zero: true } });
}

function publishedChange(story) {
  const found = data.published.find((one) => one.name === story.name);
  if (!found) return null;
  const line = (name, field) => ({ name, points: found.points.map((p) => [p.folio_kib, p[field], `${folio(p.folio_kib)} ${p[field]} %`]) });
  const series = [line("owner tracking alone", "owner-tracking"), line("with NO_PAGE_MAPCOUNT", "no-page-mapcount")];
  return lines({ title: `${story.name}: published change of run time`, note: "against the kernel before, on another machine", series,
    x: axis(found.points.map((p) => p.folio_kib)), y: { values: [...series.flatMap(({ points }) => points.map(([, y]) => y)), 0], zero: true, format: (v) => `${v} %` } });
}

byId("charts").append(...[measured(), ...data.stories.flatMap((story) => [counted(story), publishedChange(story)])].filter(Boolean));

const plain = (title, file, value, show) => ({ title, file, value, show: show && ((row) => (value(row) === null ? "" : show(value(row)))) });
byId("rows").append(sortable({
  name: "bench", caption: "Numbers", filtered: false, by: { title: "folio", down: false }, rows,
  columns: [
    { title: "story", value: (row) => row.story, words: true }, plain("folio", "folio_kib", (row) => row.folio_kib, folio), { title: "mapped by", value: (row) => row.mapped_by.toUpperCase(), words: true },
    plain("ns a page", "ns_per_page", (row) => row.ns_per_page, number), plain("lowest", "ns_low", (row) => perPage(row, "low"), number), plain("highest", "ns_high", (row) => perPage(row, "high"), number),
    ...Object.entries(UPDATES).map(([kernel, words]) => plain(`updates ${words}`, `updates_${kernel}`, (row) => (row.updates_per_page[kernel] ? sum(row.updates_per_page[kernel]) : null), number)),
    plain("copied", "copied", (row) => (row.copied ? row.copied.observed : null), (v) => `${number(100 * v)} %`), plain("copied, simulated", "copied_simulated", (row) => (row.copied ? row.copied.simulated : null), (v) => `${number(100 * v)} %`),
    plain("published", "published_percent", (row) => row.published_percent["no-page-mapcount"], (v) => `${v > 0 ? "+" : ""}${v} %`),
  ],
}));
