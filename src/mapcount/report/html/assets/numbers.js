// The numbers behind the pictures: tables of one step, files of the whole story.

const FOLIO_COLUMNS = [
  "step", "line", "kernel", "place", "count", "kind", "order", "truth", "maybe_shared", "wrong", "owners",
  "slot0", "slot0_mapcount", "slot1", "slot1_mapcount", "mm_ids_shared", "large_mapcount", "entire_mapcount",
  "nr_pages_mapped", "total_mapped_pages", "average_mapcount", "refcount", "pincount", "partially_mapped",
];
const SMAPS = [
  "size", "rss", "pss", "pss_dirty", "shared_clean", "shared_dirty", "private_clean", "private_dirty",
  "referenced", "anonymous", "ksm", "lazyfree", "anon_huge_pages", "shmem_pmd_mapped", "file_pmd_mapped",
  "shared_hugetlb", "private_hugetlb", "swap", "swap_pss", "locked", "uss",
];
const REGION = ["rss", "pss", "uss", "swap", "present", "exclusive", "mapmax"];
const WHEN = ["step", "line", "kernel"];

const when = (i, kernel) => [i + 1, steps[i].line, kernel.name];
const yes = (flag) => (flag ? "yes" : "no");

function folioRow(i, kernel, [record, places]) {
  const folio = at(record), where = at(places), c = folio.counters;
  const [[slot0, n0], [slot1, n1]] = [0, 1].map((k) => (folio.slots && folio.slots[k]) || ["", 0]);
  return [
    ...when(i, kernel), where.shown.join(" ") + (where.more ? ` and ${where.more} more` : ""), where.count,
    folio.kind, folio.order, folio.truth, yes(folio.maybe_shared), yes(folio.wrong),
    folio.owners.map(([name, n]) => `${name}:${n}`).join(" "), slot0, n0, slot1, n1,
    c.mm_ids_shared === undefined ? "" : Number(c.mm_ids_shared), c.large_mapcount, c.entire_mapcount,
    c.nr_pages_mapped, c.total_mapped_pages, folio.average_mapcount, c.refcount, c.pincount,
    yes(folio.partially_mapped),
  ];
}

const folioRows = (i, kernel) => kernel.steps[i].folios.map((one) => folioRow(i, kernel, one));
const processRows = (i, kernel) => Object.entries(kernel.steps[i].rollup).map(([name, place]) =>
  [...when(i, kernel), name, ...SMAPS.map((field) => at(place)[field])]);
const regionRows = (i, kernel) => at(kernel.steps[i].regions).map(([process, name, seen]) =>
  [...when(i, kernel), process, name, ...REGION.map((field) => seen[field])]);

// Of what the system counts, the cost last: it is there once something was counted.
const fieldsOf = (name) => Object.keys(at(kernels[0].steps[steps.length - 1][name]));
const systemColumns = () => [...WHEN, ...fieldsOf("system"), ...fieldsOf("cost")];
const systemRows = (i, kernel) => {
  const of = (name) => fieldsOf(name).map((field) => at(kernel.steps[i][name])[field]);
  return [[...when(i, kernel), ...of("system"), ...of("cost")]];
};

const everyStep = (row) => kernels.flatMap((kernel) => steps.flatMap((_, i) => row(i, kernel)));

function numbersTable(caption, columns, found) {
  const text = (i) => (found.length && typeof found[0][i] === "string" ? "text" : "");
  const head = columns.map((name, i) => el("th", { scope: "col", class: text(i) }, name));
  const cell = (v) => el("td", { class: typeof v === "string" ? "text" : "" }, v === undefined ? "" : String(v));
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
    el("table", {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, head)),
      el("tbody", {}, found.map((row) => el("tr", {}, row.map(cell))))));
}

function tables() {
  const all = [
    ["folios", "Folios (natural counts)", FOLIO_COLUMNS, folioRows],
    ["processes", "Processes (smaps_rollup, KiB)", [...WHEN, "process", ...SMAPS], processRows],
    ["regions", "Regions (smaps in KiB, pagemap in pages)", [...WHEN, "process", "region", ...REGION], regionRows],
    ["system", "The system (pages or events; counter updates since the start)", systemColumns(), systemRows],
  ];
  byId("tables").replaceChildren(
    el("div", { class: "downloads" }, all.map(([name, , columns, row]) =>
      download(`${name}.csv`, () => [columns, ...everyStep(row)]))),
    ...all.map(([, caption, columns, row]) => {
      const here = chosen().flatMap((kernel) => row(now, kernel).map((one) => one.slice(2)));
      return numbersTable(caption, columns.slice(2), here);
    }));
}
