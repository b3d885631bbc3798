// The numbers behind the pictures: tables of one step, files of the whole story.

const FOLIO_COLUMNS = ["step", "line", "kernel", "place", "count", "kind", "order", "truth", "maybe_shared", "wrong", "owners", "slot0", "slot0_mapcount",
  "slot1", "slot1_mapcount", "mm_ids_shared", "large_mapcount", "entire_mapcount", "nr_pages_mapped", "total_mapped_pages", "average_mapcount", "refcount",
  "pincount", "partially_mapped"];

function folioRow(i, kernel, [record, places]) {
  const folio = at(record), where = at(places), slot = (k) => (folio.slots && folio.slots[k]) || ["", 0], c = folio.counters;
  return [i + 1, steps[i].line, kernel.name, where.shown.join(" ") + (where.more ? ` and ${where.more} more` : ""), where.count, folio.kind, folio.order,
    folio.truth, folio.maybe_shared ? "yes" : "no", folio.wrong ? "yes" : "no", folio.owners.map(([name, n]) => `${name}:${n}`).join(" "),
    slot(0)[0], slot(0)[1], slot(1)[0], slot(1)[1], c.mm_ids_shared === undefined ? "" : Number(c.mm_ids_shared), c.large_mapcount, c.entire_mapcount,
    c.nr_pages_mapped, c.total_mapped_pages, folio.average_mapcount, c.refcount, c.pincount, folio.partially_mapped ? "yes" : "no"];
}

const SMAPS = ["size", "rss", "pss", "pss_dirty", "shared_clean", "shared_dirty", "private_clean", "private_dirty", "referenced", "anonymous", "ksm", "lazyfree",
  "anon_huge_pages", "shmem_pmd_mapped", "file_pmd_mapped", "shared_hugetlb", "private_hugetlb", "swap", "swap_pss", "locked", "uss"];
const REGION = ["rss", "pss", "uss", "swap", "present", "exclusive", "mapmax"];

const processRows = (i, kernel) => Object.entries(kernel.steps[i].rollup).map(([name, place]) => [i + 1, steps[i].line, kernel.name, name, ...SMAPS.map((field) => at(place)[field])]);
const regionRows = (i, kernel) => at(kernel.steps[i].regions).map(([process, name, seen]) => [i + 1, steps[i].line, kernel.name, process, name, ...REGION.map((field) => seen[field])]);
const systemRow = (i, kernel) => [i + 1, steps[i].line, kernel.name, ...Object.values(at(kernel.steps[i].system)), ...Object.values(at(kernel.steps[i].cost))];
const systemColumns = () => ["step", "line", "kernel", ...Object.keys(at(kernels[0].steps[0].system)), ...costFields()];
const costFields = () => Object.keys(at(kernels[0].steps[steps.length - 1].cost));

const everyStep = (row) => kernels.flatMap((kernel) => steps.flatMap((_, i) => row(i, kernel)));

function numbersTable(caption, columns, rows) {
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption }, el("table", {},
    el("caption", {}, caption),
    el("thead", {}, el("tr", {}, columns.map((name, i) => el("th", { scope: "col", class: rows.length && typeof rows[0][i] === "string" ? "text" : "" }, name)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((v) => el("td", { class: typeof v === "string" ? "text" : "" }, v === undefined ? "" : String(v))))))));
}

function tables() {
  const here = chosen(), rest = (row) => row.slice(2);
  byId("tables").replaceChildren(
    el("div", { class: "downloads" },
      download("folios.csv", () => [FOLIO_COLUMNS, ...everyStep((i, k) => k.steps[i].folios.map((one) => folioRow(i, k, one)))]),
      download("processes.csv", () => [["step", "line", "kernel", "process", ...SMAPS], ...everyStep(processRows)]),
      download("regions.csv", () => [["step", "line", "kernel", "process", "region", ...REGION], ...everyStep(regionRows)]),
      download("system.csv", () => [systemColumns(), ...everyStep((i, k) => [systemRow(i, k)])])),
    numbersTable("Folios (natural counts)", rest(FOLIO_COLUMNS), here.flatMap((k) => k.steps[now].folios.map((one) => rest(folioRow(now, k, one))))),
    numbersTable("Processes (smaps_rollup, KiB)", ["kernel", "process", ...SMAPS], here.flatMap((k) => processRows(now, k).map(rest))),
    numbersTable("Regions (smaps in KiB, pagemap in pages)", ["kernel", "process", "region", ...REGION], here.flatMap((k) => regionRows(now, k).map(rest))),
    numbersTable("The system (pages or events; counter updates since the start)", rest(systemColumns()), here.map((k) => rest(systemRow(now, k)))));
}

start();
