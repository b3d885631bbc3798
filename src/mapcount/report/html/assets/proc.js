// What each kernel tells user space, and the address spaces it tells of.

const SYSTEM = {
  anon_pages: "AnonPages", mapped: "Mapped", anon_huge_pages: "AnonHugePages",
  shmem_pmd_mapped: "ShmemPmdMapped", file_pmd_mapped: "FilePmdMapped", swap_used: "swap used",
  swap_cached: "SwapCached",
};
const EVENTS = {
  deferred_split: "queued for splitting", thp_split_page: "THPs split", thp_split_pmd: "PMDs split",
};
const FIELDS = { rss: "Rss", pss: "Pss", uss: "Uss" };
const MORE_FIELDS = { swap: "Swap", private_hugetlb: "Private_Hugetlb", shared_hugetlb: "Shared_Hugetlb" };

function procTable() {
  const here = chosen();
  if (!here.length) return el("p", { class: "nobody" }, "No kernel is chosen.");
  const names = Object.keys(here[0].steps[now].rollup);
  const sizes = here.flatMap((kernel) => Object.values(kernel.steps[now].rollup).map((place) => at(place).rss));
  const most = Math.max(1, ...sizes);
  const processes = names.map((name) => el("tr", {},
    el("th", { scope: "row" }, swatch(name), " ", name),
    here.map((kernel) => procCell(kernel, name, here[0], most))));
  const statistics = Object.entries(SYSTEM).map(([field, words]) => systemRow(here, field, words, (n) => size(4 * n)));
  const events = Object.entries(EVENTS).map(([field, words]) => systemRow(here, field, words, String));
  const heads = here.map((kernel) => el("th", { class: "kernel-name", scope: "col" }, kernel.name));
  const label = "Processes and statistics by kernel";
  return el("div", {},
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": label },
      el("table", { class: "procs" },
        el("thead", {}, el("tr", {}, el("td", {}), heads)),
        el("tbody", {}, processes, statistics, events))),
    el("p", { class: "key" },
      el("span", {}, gauge(100, 0, 0, 100), "Rss"),
      el("span", {}, gauge(0, 100, 0, 100), "Pss"),
      el("span", {}, gauge(0, 0, 100, 100), "Uss"),
      here.length > 1 ? el("span", { class: "differs" }, "differs from the first kernel") : null));
}

// One number of the system on each kernel; nothing where it is zero everywhere.
function systemRow(here, field, words, print) {
  const all = here.map((kernel) => at(kernel.steps[now].system)[field]);
  const past = now ? here.map((kernel) => at(kernel.steps[now - 1].system)[field]) : all;
  if (![...all, ...past].some(Boolean)) return null;
  return el("tr", {}, el("th", { scope: "row" }, words), all.map((n, i) =>
    el("td", { "data-kernel": here[i].name, "data-field": field, class: n !== all[0] ? "differs" : "" },
      value(print(n), print(past[i])))));
}

// Rss as a frame, Pss in it, Uss in that.
function gauge(rss, pss, uss, most) {
  const bar = (name, kib) => el("i", {
    class: name, style: { width: `${(100 * kib) / most}%`, display: kib ? "block" : "none" },
  });
  return el("div", { class: "gauge", "aria-hidden": "true" }, bar("rss", rss), bar("pss", pss), bar("uss", uss));
}

function procCell(kernel, name, first, most) {
  const place = kernel.steps[now].rollup[name];
  if (place === undefined) return el("td", {}, "not there");
  const roll = at(place), base = at(first.steps[now].rollup[name]);
  const before = now ? kernel.steps[now - 1].rollup[name] : undefined;
  const past = before === undefined ? null : at(before);
  const more = Object.entries(MORE_FIELDS).filter(([field]) => roll[field] || (past && past[field]));
  const figures = [...Object.entries(FIELDS), ...more].map(([field, words]) => {
    const was = now ? (past ? size(past[field]) : null) : undefined;
    const differs = roll[field] !== base[field] ? "differs" : "";
    return el("span", { "data-field": field, class: differs },
      el("small", {}, words), " ", value(size(roll[field]), was));
  });
  return el("td", { "data-kernel": kernel.name, "data-process": name },
    gauge(roll.rss, roll.pss, roll.uss, most), el("div", { class: "figures" }, figures));
}

// Address spaces that are the same on several kernels are drawn once.
function spaces() {
  const groups = new Map();
  for (const kernel of chosen())
    for (const [name, place] of Object.entries(kernel.steps[now].spaces)) {
      const key = `${name} ${place}`;
      if (!groups.has(key)) groups.set(key, { name, space: at(place), on: [] });
      groups.get(key).on.push(kernel.name);
    }
  const order = (group) => data.processes.indexOf(group.name);
  return [...groups.values()].sort((a, b) => order(a) - order(b)).map(({ name, space, on }) => {
    const regions = space.regions.map((one) => region(name, one));
    return el("div", { class: "space" },
      el("div", { class: "who" }, swatch(name), name, el("small", { title: "MM id" }, `id ${space.mm_id}`)),
      el("div", {},
        on.length < chosen().length ? el("p", { class: "rules-of" }, on.join(", ")) : null,
        el("div", { class: "regions" },
          regions.length ? regions : el("small", { class: "note" }, "nothing mapped"))));
  });
}
