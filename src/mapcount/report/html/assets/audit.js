// An audit: what each process's numbers are now and on another kernel, and whose folios are mistaken.

let then = data.compared_with;
const several = data.machines.length > 1;
const processes = data.machines.flatMap((machine) => machine.processes.map((process) => ({ ...process, machine: machine.name })));
const under = (process) => process.under[then] || null;
const change = (process, field) => (under(process) ? under(process)[field] - process.now[field] : null);
const about = (kib) => {
  let amount = Math.abs(kib), unit = "K";
  for (const larger of "MGTPE") { if (amount < 999.5) break; amount /= 1024; unit = larger; }
  const text = unit === "K" || amount >= 99.95 ? amount.toFixed(0) : amount.toFixed(amount >= 9.995 ? 1 : 2);
  return kib ? `${kib < 0 ? "−" : ""}${text.includes(".") ? text.replace(/\.?0+$/, "") : text}${unit}` : "0";
};
const differs = (kib) => (kib === null ? "?" : kib ? (kib > 0 ? "+" : "") + about(kib) : "0");

function figure(title, now, after, { least = false } = {}) {
  const delta = after - now;
  return el("div", { class: "figure" }, el("h3", {}, title),
    el("div", { class: "number" }, about(after), el("small", {}, ` now ${about(now)}`)),
    el("div", { class: "delta" }, delta ? el("b", {}, `${least ? "at least " : ""}${differs(delta)}`) : least ? "no change seen" : "no change"));
}

function cards() {
  const total = data.total, after = total.under[then], list = [];
  if (after) for (const [title, field] of [["Rss, all processes", "rss_kib"], ["Pss", "pss_kib"], ["Uss", "uss_kib"]]) list.push(figure(title, total.now[field], after[field]));
  for (const [name, statistic] of Object.entries(total.meminfo)) list.push(figure(`${name}, whole machine`, statistic.now_kib, statistic.under[then], { least: !total.complete }));
  const folios = total.folios.reduce((sum, row) => sum + row.mistaken_for_shared, 0);
  list.unshift(el("div", { class: `figure${folios ? " wrong" : ""}` }, el("h3", {}, "Mistaken for shared"),
    el("div", { class: "number" }, about(total.mistaken_kib)), el("div", { class: "delta" }, `${plural(folios, "large folio")} of one process alone`)));
  byId("cards").replaceChildren(...list);
}

// Now is a ring, then a diamond, on one scale for all rows.
function dumbbell(now, after, most) {
  const at = (kib) => `${(100 * kib) / Math.max(most, 1)}%`;
  if (after === null) return el("div", { class: "picture-inner" }, el("div", { class: "dumbbell", title: `now ${about(now)}` }, el("i", { class: "now", style: { left: at(now) } })));
  const [low, high] = [Math.min(now, after), Math.max(now, after)];
  return el("div", { class: "picture-inner" }, el("div", { class: "dumbbell", title: `now ${about(now)}, then ${about(after)}` },
    now === after ? el("i", { class: "now same", style: { left: at(now) } })
      : [el("i", { class: "between", style: { left: at(low), width: at(high - low) } }), el("i", { class: "now", style: { left: at(now) } }), el("i", { class: "then", style: { left: at(after) } })]));
}

function processTable() {
  const most = Math.max(1, ...processes.flatMap((p) => [p.now.uss_kib, under(p) ? under(p).uss_kib : 0]));
  const kib = (title, file, value) => ({ title, file, value, show: (p) => (value(p) === null ? null : about(value(p))) });
  const delta = (title, file, field) => ({ title, file, value: (p) => change(p, field), show: (p) => el("span", { class: change(p, field) ? "differs" : "" }, differs(change(p, field))) });
  const columns = [
    ...(several ? [{ title: "machine", value: (p) => p.machine, words: true }] : []),
    { title: "pid", value: (p) => p.pid }, { title: "name", value: (p) => p.comm, words: true },
    kib("Rss", "rss_kib", (p) => p.now.rss_kib), kib("Pss", "pss_kib", (p) => p.now.pss_kib), kib("Pss then", "pss_then_kib", (p) => under(p) && under(p).pss_kib), delta("Pss change", "pss_change_kib", "pss_kib"),
    kib("Uss", "uss_kib", (p) => p.now.uss_kib), kib("Uss then", "uss_then_kib", (p) => under(p) && under(p).uss_kib), delta("Uss change", "uss_change_kib", "uss_kib"),
    { title: "mistaken", file: "mistaken_kib", value: (p) => p.mistakes.mapped_kib, show: (p) => el("span", { class: p.mistakes.mapped_kib ? "bad" : "" }, about(p.mistakes.mapped_kib)) },
    { title: "copied", file: "copied_kib", value: (p) => p.mistakes.copied_kib, show: (p) => about(p.mistakes.copied_kib), title_long: "what its writes will copy because of that, at least" },
    { title: "Uss now ○ and then ◆", picture: true, value: (p) => -Math.abs(change(p, "uss_kib") || 0), show: (p) => dumbbell(p.now.uss_kib, under(p) && under(p).uss_kib, most) },
    { title: "control group", value: (p) => p.cgroup || "", words: true },
  ];
  const rows = [...processes].sort((a, b) => Math.max(Math.abs(change(b, "uss_kib")), Math.abs(change(b, "pss_kib"))) - Math.max(Math.abs(change(a, "uss_kib")), Math.abs(change(a, "pss_kib"))));
  byId("processes").replaceChildren(rows.length ? sortable({ name: "processes", caption: "Processes", columns, rows, by: { title: "mistaken", down: true } }) : el("p", { class: "note" }, "No process changes by so much."));
}

function folioTable() {
  const rows = data.total.folios, most = Math.max(1, ...rows.map((row) => row.folios * row.kib));
  if (!rows.length) { byId("folios").replaceChildren(el("p", { class: "note" }, "There is none.")); return; }
  const parts = (row) => {
    const known = row.exclusive - row.mistaken_for_shared;
    return [["known", known, "exclusive, known"], ["mistaken", row.mistaken_for_shared, "exclusive, mistaken for shared"], ["shared", row.shared, "shared"],
      ["unknown", Math.max(0, row.folios - row.exclusive - row.shared), "not judged"]].filter(([, n]) => n > 0);
  };
  const bar = (row) => el("div", { class: "owned", style: { width: `${(100 * row.folios * row.kib) / most}%` }, role: "img", "aria-label": parts(row).map(([, n, word]) => `${n} ${word}`).join(", ") },
    parts(row).map(([kind, n, word]) => el("i", { class: kind, style: { "--n": n }, title: `${plural(n, "folio")} ${word}` })));
  const number = (title, field) => ({ title, file: field, value: (row) => row[field] });
  const columns = [
    { title: "size", file: "kib", value: (row) => row.kib, show: (row) => about(row.kib) }, { title: "kind", value: (row) => row.kind, words: true }, number("folios", "folios"),
    { title: "memory", file: "memory_kib", value: (row) => row.folios * row.kib, show: (row) => about(row.folios * row.kib) },
    { title: "owners, by memory", picture: true, value: (row) => row.folios * row.kib, show: bar },
    number("PMD", "by_pmd"), number("PTE", "by_pte"), number("both", "by_both"), number("partly", "partly_mapped"), number("exclusive", "exclusive"), number("shared", "shared"),
    { title: "mistaken", file: "mistaken_for_shared", value: (row) => row.mistaken_for_shared, show: (row) => el("span", { class: row.mistaken_for_shared ? "bad" : "" }, String(row.mistaken_for_shared)) },
    number("not judged", "not_judged"),
  ];
  const key = (kind, words) => el("span", {}, el("span", { class: "owned" }, el("i", { class: kind, style: { "--n": 1 } })), words);
  byId("folios").replaceChildren(
    el("p", { class: "key" }, key("known", "exclusive, and the kernel knows"), key("mistaken", "exclusive, but mistaken for shared"), key("shared", "shared"), key("unknown", "not judged")),
    sortable({ name: "folios", caption: "Large folios", columns, rows, by: { title: "memory", down: true }, filtered: false }));
}

function cgroupTable() {
  const rows = data.machines.flatMap((machine) => machine.cgroups.map((group) => ({ ...group, machine: machine.name })));
  if (!rows.length) { byId("cgroups").replaceChildren(el("p", { class: "note" }, "None could be read.")); return; }
  const now = (title, field) => ({ title, file: `${field}_kib`, value: (g) => (g[field] ? g[field].now_kib : null), show: (g) => (g[field] ? about(g[field].now_kib) : null) });
  const moved = (field) => (g) => (g[field] ? g[field].under[then] - g[field].now_kib : null);
  const delta = (title, field) => ({ title, file: `${field}_change_kib`, value: moved(field), show: (g) => el("span", { class: moved(field)(g) ? "differs" : "" }, differs(moved(field)(g))) });
  const plain = (title, field, none) => ({ title, file: field, value: (g) => g[field], show: (g) => (g[field] === null ? none : about(g[field])) });
  const columns = [
    ...(several ? [{ title: "machine", value: (g) => g.machine, words: true }] : []), { title: "control group", value: (g) => g.path, words: true },
    now("anon", "anon"), delta("anon change", "anon"), now("file_mapped", "file_mapped"), delta("file_mapped change", "file_mapped"),
    plain("shmem", "shmem_kib", "?"), plain("usage", "current_kib", "?"), plain("limit", "limit_kib", "none"),
  ];
  byId("cgroups").replaceChildren(sortable({ name: "cgroups", caption: "Control groups", columns, rows, by: { title: "anon change", down: true } }));
}

function show() { cards(); processTable(); folioTable(); cgroupTable(); }

byId("choices").hidden = !data.predicted;
byId("kernels").append(...data.kernels.map((name) => el("label", {}, el("input", { type: "radio", name: "kernel", value: name, checked: name === then, onchange: () => { then = name; show(); } }), name)));
show();
