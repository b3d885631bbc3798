// An audit: what each process's numbers are now and on another kernel, and whose folios are mistaken.

let then = data.compared_with;
const several = data.machines.length > 1;
const onMachine = (kind) =>
  data.machines.flatMap(({ name, [kind]: all }) => all.map((one) => ({ ...one, machine: name })));
const processes = onMachine("processes"), groups = onMachine("cgroups");

// KiB in three digits, as the text report prints them.
function about(kib) {
  let amount = Math.abs(kib), unit = "K";
  for (const larger of "MGTPE") {
    if (amount < 999.5) break;
    amount /= 1024;
    unit = larger;
  }
  const digits = unit === "K" || amount >= 99.95 ? 0 : amount >= 9.995 ? 1 : 2;
  const text = amount.toFixed(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
  return kib ? `${kib < 0 ? "−" : ""}${text}${unit}` : "0";
}
const signedAbout = (kib) => (kib > 0 ? "+" : "") + about(kib);

const under = (process) => process.under[then] || null;
const change = (process, field) => (under(process) ? under(process)[field] - process.now[field] : null);

// -- the sums ------------------------------------------------------------------------------------------

function figure(title, now, after, { least = false } = {}) {
  const delta = after - now, nothing = least ? "no change seen" : "no change";
  const words = delta ? el("b", {}, `${least ? "at least " : ""}${signedAbout(delta)}`) : nothing;
  return el("div", { class: "figure" },
    el("h3", {}, title),
    el("div", { class: "number" }, about(after), " ", el("small", {}, `now ${about(now)}`)),
    el("div", { class: "delta" }, words));
}

function cards() {
  const { total } = data, after = total.under[then];
  const folios = total.folios.reduce((sum, row) => sum + row.mistaken_for_shared, 0);
  const mistaken = el("div", { class: `figure${folios ? " wrong" : ""}` },
    el("h3", {}, "Mistaken for shared"),
    el("div", { class: "number" }, about(total.mistaken_kib)),
    el("div", { class: "delta" }, folios ? `${plural(folios, "large folio")} of one process alone` : "no large folio"));
  const sums = [["Uss, all processes", "uss_kib"], ["Pss", "pss_kib"], ["Rss", "rss_kib"]];
  byId("cards").replaceChildren(
    mistaken,
    ...(after ? sums.map(([title, field]) => figure(title, total.now[field], after[field])) : []),
    ...Object.entries(total.meminfo).map(([name, { now_kib: now, under: all }]) =>
      figure(`${name}, whole machine`, now, all[then], { least: !total.complete })));
}

// -- processes -----------------------------------------------------------------------------------------

// Now is a ring, then a diamond, on one scale for all rows; one disc where they are the same.
function dumbbell(now, after, most) {
  const left = (kib) => `${(100 * kib) / most}%`;
  const mark = (look, kib) => el("i", { class: look, style: { left: left(kib) } });
  const [low, high] = [Math.min(now, after), Math.max(now, after)];
  const between = () => el("i", { class: "between", style: { left: left(low), width: left(high - low) } });
  const marks = after === null ? mark("now", now)
    : now === after ? mark("now same", now) : [between(), mark("now", now), mark("then", after)];
  const title = `now ${about(now)}${after === null ? "" : `, then ${about(after)}`}`;
  return el("div", { class: "picture-inner" }, el("div", { class: "dumbbell", title }, marks));
}

const known = (value, show) => (row) => (value(row) === null ? null : show(value(row)));
const kib = (title, file, value) => ({ title, file, value, show: known(value, about) });
const changed = (title, file, value) => ({
  title, file, value, show: known(value, (v) => el("span", { class: v ? "differs" : "" }, signedAbout(v))),
});
const machine = () => (several ? [{ title: "machine", value: (row) => row.machine, words: true }] : []);

function processTable() {
  if (!processes.length) return el("p", { class: "note" }, "No process changes by so much.");
  const memory = (p, field) => under(p) && under(p)[field];
  const most = Math.max(1, ...processes.flatMap((p) => [p.now.uss_kib, memory(p, "uss_kib") || 0]));
  const mistaken = (p) => p.mistakes.mapped_kib;
  const largest = (p) => Math.max(Math.abs(change(p, "uss_kib")), Math.abs(change(p, "pss_kib")));
  return sortable({
    name: "processes", caption: "Processes", by: { title: "mistaken", down: true },
    rows: [...processes].sort((a, b) => largest(b) - largest(a)),
    columns: [
      ...machine(),
      { title: "pid", value: (p) => p.pid },
      { title: "name", value: (p) => p.comm, words: true },
      kib("Rss", "rss_kib", (p) => p.now.rss_kib),
      kib("Pss", "pss_kib", (p) => p.now.pss_kib),
      kib("Pss then", "pss_then_kib", (p) => memory(p, "pss_kib")),
      changed("Pss change", "pss_change_kib", (p) => change(p, "pss_kib")),
      kib("Uss", "uss_kib", (p) => p.now.uss_kib),
      kib("Uss then", "uss_then_kib", (p) => memory(p, "uss_kib")),
      changed("Uss change", "uss_change_kib", (p) => change(p, "uss_kib")),
      {
        title: "mistaken", file: "mistaken_kib", value: mistaken,
        show: (p) => el("span", { class: mistaken(p) ? "bad" : "" }, about(mistaken(p))),
      },
      {
        ...kib("copied", "copied_kib", (p) => p.mistakes.copied_kib),
        hint: "what its writes will copy because of that, at least",
      },
      {
        title: "Uss now ○ and then ◆", picture: true, value: (p) => Math.abs(change(p, "uss_kib")),
        show: (p) => dumbbell(p.now.uss_kib, memory(p, "uss_kib"), most),
      },
      { title: "control group", value: (p) => p.cgroup || "", words: true },
    ],
  });
}

// -- large folios --------------------------------------------------------------------------------------

const OWNED = {
  known: "exclusive, and the kernel knows", mistaken: "exclusive, but mistaken for shared", shared: "shared",
  unknown: "not judged",
};

function owned(row, most) {
  const numbers = {
    known: row.exclusive - row.mistaken_for_shared, mistaken: row.mistaken_for_shared, shared: row.shared,
    unknown: Math.max(0, row.folios - row.exclusive - row.shared),
  };
  const parts = Object.entries(numbers).filter(([, n]) => n > 0);
  const label = parts.map(([kind, n]) => `${n} ${OWNED[kind]}`).join("; ");
  const style = { width: `${(100 * row.folios * row.kib) / most}%` };
  return el("div", { class: "owned", style, role: "img", "aria-label": label }, parts.map(([kind, n]) =>
    el("i", { class: kind, style: { "--n": n }, title: `${plural(n, "folio")} ${OWNED[kind]}` })));
}

function folioTable() {
  const rows = data.total.folios, memory = (row) => row.folios * row.kib;
  if (!rows.length) return [el("p", { class: "note" }, "There is none.")];
  const most = Math.max(1, ...rows.map(memory)), mistaken = (row) => row.mistaken_for_shared;
  const number = (title, field) => ({ title, file: field, value: (row) => row[field] });
  const table = sortable({
    name: "folios", caption: "Large folios", rows, by: { title: "memory", down: true }, filtered: false,
    columns: [
      kib("size", "kib", (row) => row.kib),
      { title: "kind", value: (row) => row.kind, words: true },
      number("folios", "folios"),
      kib("memory", "memory_kib", memory),
      { title: "owners, by memory", picture: true, value: memory, show: (row) => owned(row, most) },
      number("PMD", "by_pmd"), number("PTE", "by_pte"), number("both", "by_both"), number("partly", "partly_mapped"),
      number("exclusive", "exclusive"), number("shared", "shared"),
      {
        ...number("mistaken", "mistaken_for_shared"),
        show: (row) => el("span", { class: mistaken(row) ? "bad" : "" }, mistaken(row).toLocaleString("en")),
      },
      number("not judged", "not_judged"),
    ],
  });
  const key = Object.entries(OWNED).map(([kind, words]) => el("span", {},
    el("span", { class: "owned" }, el("i", { class: kind, style: { "--n": 1 } })), words));
  return [el("p", { class: "key" }, key), table];
}

// -- control groups ------------------------------------------------------------------------------------

function cgroupTable() {
  if (!groups.length) return el("p", { class: "note" }, "None could be read.");
  const now = (field) => (g) => (g[field] ? g[field].now_kib : null);
  const moved = (field) => (g) => (g[field] ? g[field].under[then] - g[field].now_kib : null);
  const limit = (g) => (g.limit_kib === null ? "none" : about(g.limit_kib));
  return sortable({
    name: "cgroups", caption: "Control groups", rows: groups, by: { title: "anon change", down: true },
    columns: [
      ...machine(),
      { title: "control group", value: (g) => g.path, words: true },
      kib("anon", "anon_kib", now("anon")), changed("anon change", "anon_change_kib", moved("anon")),
      kib("file_mapped", "file_mapped_kib", now("file_mapped")),
      changed("file_mapped change", "file_mapped_change_kib", moved("file_mapped")),
      kib("shmem", "shmem_kib", (g) => g.shmem_kib), kib("usage", "current_kib", (g) => g.current_kib),
      { title: "limit", file: "limit_kib", value: (g) => g.limit_kib, show: limit },
    ],
  });
}

function show() {
  cards();
  byId("processes").replaceChildren(processTable());
  byId("folios").replaceChildren(...folioTable());
  byId("cgroups").replaceChildren(cgroupTable());
}

byId("choices").hidden = !data.predicted;
for (const name of data.kernels) {
  const change = () => { then = name; show(); }, checked = name === then;
  byId("kernels").append(el("label", {},
    el("input", { type: "radio", name: "kernel", value: name, checked, onchange: change }), name));
}
show();
