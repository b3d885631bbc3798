// A story played back: one step is shown at a time, of the kernels that are chosen.

const steps = data.steps, kernels = data.kernels, at = (place) => data.store[place];
const shown = new Set(kernels.map((kernel) => kernel.name));
const FEW_CARDS = 4, MOST_CARDS = 24;
let now = 0, timer = null, everyCard = false;

const chosen = () => kernels.filter((kernel) => shown.has(kernel.name));
const wrongAt = (i) => chosen().some((kernel) => kernel.steps[i].wrong);

// -- values and what they were before ------------------------------------------------------------------

function value(text, before) {
  if (before === undefined || before === text) return el("span", {}, String(text));
  return el("span", { class: "chg" }, before === null ? null : el("span", { class: "old" }, String(before)), String(text));
}

// What a folio was one step ago, on the same kernel: known by its page frame. Null if it is new. Of look-alikes,
// what one of them was that was not as it is now.
function folioBefore(kernel, folio, where) {
  if (!now) return undefined;
  let found = folio;
  for (const [pfn] of where.frames) {
    const was = kernel.steps[now - 1].folios.find(([record, places]) =>
      at(record).order === folio.order && at(places).frames.some(([first, n]) => first <= pfn && pfn < first + n));
    if (!was) found = null;
    else if (at(was[0]) !== folio) return at(was[0]);
  }
  return found;
}

// -- folios --------------------------------------------------------------------------------------------

// Folios that look alike on several kernels are one card: its truth once, what each kernel keeps below. Where there
// are many cards, those that changed come first, then those that a kernel is mistaken about.
function cards() {
  const found = new Map();
  for (const kernel of chosen())
    for (const [record, places] of kernel.steps[now].folios) {
      const folio = at(record), where = at(places);
      const key = JSON.stringify([where.shown, where.count, folio.kind, folio.order, folio.truth, folio.owners, folio.lanes, folio.exclusive]);
      if (!found.has(key)) found.set(key, { folio, where, on: [] });
      found.get(key).on.push({ kernel, folio, where });
    }
  const list = [...found.values()].sort((a, b) => b.folio.order - a.folio.order);
  for (const group of list) {
    group.before = group.on.map((one) => folioBefore(one.kernel, one.folio, one.where));
    group.changed = now > 0 && group.on.some(({ folio }, i) => group.before[i] !== folio);
  }
  if (list.length <= FEW_CARDS) return list;
  const rank = (group) => 2 * group.changed + group.on.some((one) => one.folio.wrong);
  return list.sort((a, b) => rank(b) - rank(a));
}

function card({ folio, where, on, before, changed }) {
  const fresh = before.every((b) => b === null);
  const whose = folio.owners.length === 1 ? ` to ${folio.owners[0][0]}` : folio.owners.length ? ` by ${folio.owners.map(([name]) => name).slice(0, 6).join(", ")}${folio.owners.length > 6 ? ", …" : ""}` : "";
  const kind = `${folio.kind} ${where.count > 1 ? `${where.count.toLocaleString("en")} × ` : ""}${size(4 * 2 ** folio.order)} ${where.count > 1 ? "folios alike" : "folio"}`;
  return el("article", { class: `card${changed ? " changed" : ""}${where.count > 1 ? " stack" : ""}` },
    el("header", {},
      el("span", { class: "place" }, where.shown.join(", ") + (where.more ? ` and ${where.more} more` : "")),
      el("span", { class: "kind" }, kind),
      fresh ? el("span", { class: "chg" }, "new in this step") : null,
      el("span", { class: "truth" }, icon(folio.truth), el("span", {}, "truth: ", el("b", {}, folio.truth), whose))),
    lanes(folio),
    el("div", { class: "beliefs" }, on.map(({ kernel, folio: f }, i) => belief(kernel, f, before[i]))));
}

function belief(kernel, folio, before) {
  const says = folio.maybe_shared ? "shared" : "exclusive";
  const said = before ? (before.maybe_shared ? "shared" : "exclusive") : undefined;
  const only = folio.owners.length === 1 ? `only ${folio.owners[0][0]} maps it` : folio.owners.length ? `${folio.owners.map(([name]) => name).slice(0, 4).join(", ")} map it` : "nobody maps it";
  return el("div", { class: `belief${folio.wrong ? " wrong" : ""}`, "data-kernel": kernel.name },
    el("div", { class: "head" },
      el("span", { class: "kernel" }, kernel.name),
      el("span", { class: "verdict" }, icon(says), el("span", {}, "says ", el("b", {}, value(says, said))), folio.wrong ? el("span", { class: "wrong-tag" }, "✗ WRONG") : null)),
    folio.wrong ? el("p", { class: "because" }, `It says ${says}, but ${only}.`) : null,
    folio.slots ? slots(folio, before) : null,
    bars(folio),
    counters(folio, before),
    schemes(folio));
}

// What other schemes than the kernel's say, where the run was asked for some.
function schemes(folio) {
  const words = Object.entries(folio.schemes).map(([name, maybe]) => {
    const wrong = maybe !== (folio.truth === "shared");
    return el("span", { "data-scheme": name }, `${name} says `, el("b", { class: wrong ? "bad" : "" }, `${maybe ? "shared" : "exclusive"}${wrong ? " ✗ WRONG" : ""}`), ". ");
  });
  return words.length ? el("p", { class: "schemes" }, words) : null;
}

function slots(folio, before) {
  const old = before && before.slots;
  const held = (slot) => (slot ? `${slot[0]}:${slot[1]}` : "free");
  const box = (i) => {
    const slot = folio.slots[i], was = old ? held(old[i]) : undefined, changed = was !== undefined && was !== held(slot);
    return el("div", { class: `slot${changed ? " chg" : ""}` }, el("small", {}, `slot ${i}`, changed ? `, was ${was}` : null),
      slot ? el("span", { class: "held" }, swatch(slot[0]), held(slot)) : el("span", { class: "free" }, "free"));
  };
  const flag = (f) => (f.counters.mm_ids_shared ? "set" : "clear");
  const moved = old && flag(before) !== flag(folio);
  return el("div", { class: "slots" }, box(0), box(1),
    el("div", { class: `flag${moved ? " chg" : ""}` }, el("small", {}, "shared flag"), el("b", {}, flag(folio))));
}

const ENTIRELY = 0x800000;
function counterWords(folio) {
  const c = folio.counters, found = [];
  if (c.large_mapcount !== undefined) found.push(["total", "large_mapcount", c.large_mapcount]);
  if (c.entire_mapcount !== undefined) found.push(["entire", "entire_mapcount", c.entire_mapcount]);
  if (c.nr_pages_mapped !== undefined)
    found.push(["pages mapped", "nr_pages_mapped", (c.nr_pages_mapped % ENTIRELY) + (c.nr_pages_mapped >= ENTIRELY ? " + entirely" : "")]);
  if (c.total_mapped_pages !== undefined) found.push(["mapped pages in all", "total_mapped_pages", c.total_mapped_pages]);
  found.push(["mapcount in /proc", "kpagecount", runLength(folio.kpagecount)]);
  found.push(["refcount", "refcount", c.refcount]);
  if (c.pincount) found.push(["pins", "pincount", c.pincount]);
  if (folio.partially_mapped) found.push(["queued", "partially_mapped", "partially mapped"]);
  return found;
}
// Pages × map count, page by page while that is short, else how many pages have each count.
function runLength(runs) {
  if (runs.length === 1) return `${runs[0][1]}`;
  if (runs.length <= 4) return runs.map(([n, count]) => `${n}×${count}`).join(" ");
  const pages = new Map();
  for (const [n, count] of runs) pages.set(count, (pages.get(count) || 0) + n);
  return `${[...pages].sort(([a], [b]) => b - a).map(([count, n]) => `${n}×${count}`).join(", ")}, in turns`;
}
function counters(folio, before) {
  const old = new Map(before && before.order === folio.order ? counterWords(before).map(([, field, v]) => [field, v]) : []);
  return el("dl", { class: "counters" }, counterWords(folio).map(([words, field, v]) =>
    el("div", {}, el("dt", {}, words), el("dd", { "data-field": field }, value(v, old.size ? (old.has(field) ? old.get(field) : null) : undefined)))));
}

// -- what fired ----------------------------------------------------------------------------------------

function told() {
  const groups = new Map();
  for (const kernel of chosen()) {
    const t = kernel.steps[now].told;
    const key = JSON.stringify([t.fates, (t.events || []).map((e) => [e.event, e.case, e.effect, e.last, e.times, e.place])]);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(kernel);
  }
  const node = el("div", {});
  for (const group of groups.values()) {
    if (groups.size > 1) node.append(el("p", { class: "rules-of" }, group.map((kernel) => kernel.name).join(", ")));
    const list = el("ol", { class: "rules" });
    const t = group[0].steps[now].told;
    for (const { fate, why, pages, place } of t.fates || [])
      list.append(el("li", { class: why.includes("needless") ? "costly" : "" },
        el("span", { class: "what" }, fate === "skipped" ? `${plural(pages, "page")} of ${place} to be paged out` : `Write to ${plural(pages, "read-only page")} of ${place}`),
        el("b", { class: "case" }, fate), el("span", { class: "arrow" }, "because"), why));
    (t.events || []).forEach((event, i) => list.append(el("li", {},
      el("span", { class: "what" }, `${event.event}, ${event.place}${event.times > 1 ? `, ${event.times.toLocaleString("en")} times` : ""}`),
      el("b", { class: "case" }, event.case), el("span", { class: "arrow" }, "⇒"), event.effect,
      event.last ? el("span", { class: "minor" }, `the last: ${event.last}`) : null,
      counted(group, i))));
    if (t.more) list.append(el("li", {}, `and ${plural(t.more, "event")} more`));
    if (!list.childElementCount) list.append(el("li", {}, nothingFired(group)));
    node.append(list);
  }
  byId("told").replaceChildren(node);
}

function counted(group, i) {
  const words = new Map();
  for (const kernel of group) {
    const event = kernel.steps[now].told.events[i];
    const stats = Object.entries(event.stats || {}).map(([name, kib]) => `${name} ${signed(kib)}`);
    const text = [event.counts, ...stats].filter(Boolean).join("; ");
    words.set(text, [...(words.get(text) || []), kernel.name]);
  }
  return [...words].filter(([text]) => text).map(([text, names]) =>
    el("span", { class: "minor" }, words.size > 1 ? `${names.join(", ")}: ${text}` : text));
}

function nothingFired(group) {
  const checks = group[0].steps[now];
  const failures = group.flatMap((kernel) => kernel.steps[now].failures.map((f) => `${kernel.name}: expected ${f.demand}, found ${f.found}`));
  if (failures.length) return failures.join("; ");
  if (/\bexpect\b/.test(steps[now].text)) return checks.checked ? "Nothing happens: what is expected here holds." : "Nothing happens: what is expected here is for other kernels.";
  return "No mapping came or went.";
}

// -- /proc ---------------------------------------------------------------------------------------------

const SYSTEM = { anon_pages: "AnonPages", mapped: "Mapped", anon_huge_pages: "AnonHugePages", shmem_pmd_mapped: "ShmemPmdMapped",
  file_pmd_mapped: "FilePmdMapped", swap_used: "swap used", swap_cached: "SwapCached" };
const EVENTS = { deferred_split: "queued for splitting", thp_split_page: "THPs split", thp_split_pmd: "PMDs split" };

function procTable() {
  const here = chosen();
  if (!here.length) return el("p", { class: "nobody" }, "No kernel is chosen.");
  const names = Object.keys(here[0].steps[now].rollup);
  const most = Math.max(1, ...here.flatMap((k) => Object.values(k.steps[now].rollup).map((roll) => at(roll).rss)));
  const body = names.map((name) => el("tr", {}, el("th", { scope: "row" }, swatch(name), " ", name),
    here.map((kernel) => procCell(kernel, name, here[0], most))));
  for (const [fields, unit] of [[SYSTEM, 4], [EVENTS, 0]])
    for (const [field, words] of Object.entries(fields)) {
      const all = here.map((k) => at(k.steps[now].system)[field]), past = now ? here.map((k) => at(k.steps[now - 1].system)[field]) : all;
      if (![...all, ...past].some(Boolean)) continue;
      const print = (n) => (unit ? size(unit * n) : String(n));
      body.push(el("tr", {}, el("th", { scope: "row" }, words), all.map((n, i) =>
        el("td", { "data-kernel": here[i].name, "data-field": field, class: n !== all[0] ? "differs" : "" }, value(print(n), print(past[i]))))));
    }
  return el("div", {}, el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Processes and statistics by kernel" }, el("table", { class: "procs" },
    el("thead", {}, el("tr", {}, el("td", {}), here.map((k) => el("th", { class: "kernel-name", scope: "col" }, k.name)))),
    el("tbody", {}, body))),
  el("p", { class: "key" }, el("span", {}, gauge(100, 0, 0, 100), "Rss"), el("span", {}, gauge(0, 100, 0, 100), "Pss"), el("span", {}, gauge(0, 0, 100, 100), "Uss"),
    here.length > 1 ? el("span", { class: "differs" }, "differs from the first kernel") : null));
}

function gauge(rss, pss, uss, most) {
  const bar = (name, kib) => el("i", { class: name, style: { width: `${(100 * kib) / most}%`, display: kib ? "block" : "none" } });
  return el("div", { class: "gauge", "aria-hidden": "true" }, bar("rss", rss), bar("pss", pss), bar("uss", uss));
}

function procCell(kernel, name, first, most) {
  const place = kernel.steps[now].rollup[name];
  if (place === undefined) return el("td", {}, "not there");
  const roll = at(place), base = at(first.steps[now].rollup[name]);
  const past = now && kernel.steps[now - 1].rollup[name] !== undefined ? at(kernel.steps[now - 1].rollup[name]) : null;
  const fields = ["rss", "pss", "uss", ...["swap", "private_hugetlb", "shared_hugetlb"].filter((field) => roll[field] || (past && past[field]))];
  const words = { rss: "Rss", pss: "Pss", uss: "Uss", swap: "Swap", private_hugetlb: "Private_Hugetlb", shared_hugetlb: "Shared_Hugetlb" };
  return el("td", { "data-kernel": kernel.name, "data-process": name }, gauge(roll.rss, roll.pss, roll.uss, most),
    el("div", { class: "figures" }, fields.map((field) => el("span", { "data-field": field, "data-kib": roll[field], class: roll[field] !== base[field] ? "differs" : "" },
      el("small", {}, words[field]), " ", value(size(roll[field]), now ? (past ? size(past[field]) : null) : undefined)))));
}

// -- address spaces ------------------------------------------------------------------------------------

function spaces() {
  const groups = new Map();
  for (const kernel of chosen())
    for (const [name, place] of Object.entries(kernel.steps[now].spaces)) {
      const key = `${name} ${place}`;
      if (!groups.has(key)) groups.set(key, { name, space: at(place), on: [] });
      groups.get(key).on.push(kernel.name);
    }
  const order = (group) => data.processes.indexOf(group.name);
  return [...groups.values()].sort((a, b) => order(a) - order(b)).map(({ name, space, on }) => el("div", { class: "space" },
    el("div", { class: "who" }, swatch(name), name, el("small", { title: "MM id" }, `id ${space.mm_id}`)),
    el("div", {},
      on.length < chosen().length ? el("p", { class: "rules-of" }, on.join(", ")) : null,
      el("div", { class: "regions" }, space.regions.length ? space.regions.map((one) => region(name, one)) : el("small", { class: "note" }, "nothing mapped")))));
}

// -- the step ------------------------------------------------------------------------------------------

const listed = (words) => (words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}` : words.join(""));

function sentence(list) {
  const step = steps[now], wrong = [];
  for (const { folio, where, on } of list) {
    const bad = on.filter((one) => one.folio.wrong);
    if (bad.length) wrong.push(`${listed(bad.map((one) => one.kernel.name))} ${bad.length > 1 ? "say" : "says"} ${where.shown[0]} is ${folio.truth === "shared" ? "exclusive" : "shared"}: wrong, it is ${folio.truth}${folio.owners.length === 1 ? ` to ${folio.owners[0][0]}` : ""}.`);
  }
  const failures = chosen().flatMap((kernel) => kernel.steps[now].failures.map((f) => `Not as expected on ${kernel.name}: ${f.demand}, found ${f.found}.`));
  const state = wrong.length ? wrong.join(" ") : list.length ? "Every kernel shown is right about every folio." : "No folio is in memory.";
  return [el("code", {}, step.text), step.comment ? ` (${step.comment.trim()})` : "", el("br"), ...failures.flatMap((f) => [f, " "]), state];
}

function show(i, { scroll = true } = {}) {
  now = Math.max(0, Math.min(steps.length - 1, i));
  const list = cards();
  byId("slider").value = now + 1;
  byId("slider").setAttribute("aria-valuetext", `step ${now + 1} of ${steps.length}, ${steps[now].text}`);
  byId("at").textContent = `step ${now + 1} of ${steps.length}`;
  for (const id of ["first", "back"]) byId(id).disabled = now === 0;
  for (const id of ["next", "last"]) byId(id).disabled = now === steps.length - 1;
  byId("now").replaceChildren(...sentence(list));
  const kept = everyCard ? list : list.slice(0, MOST_CARDS);
  byId("folios").replaceChildren(...(list.length ? [...kept.flatMap((group, i) => [divider(kept, i), card(group)]), moreCards(list.length - kept.length)].filter(Boolean) : [el("p", { class: "nobody" }, "No folio is in memory.")]));
  told();
  byId("proc").replaceChildren(procTable());
  byId("spaces").replaceChildren(...spaces());
  if (byId("numbers").open) tables();
  for (const line of document.querySelectorAll(".source li[aria-current]")) line.removeAttribute("aria-current");
  const line = lines[now];
  if (line) {
    line.setAttribute("aria-current", "step");
    const box = byId("source");
    if (scroll && (line.offsetTop < box.scrollTop + 30 || line.offsetTop + line.offsetHeight > box.scrollTop + box.clientHeight - 30))
      box.scrollTop = line.offsetTop - box.clientHeight / 2;
  }
  for (const mark of document.querySelectorAll(".strip .here")) mark.setAttribute("x", now);
  try { history.replaceState(null, "", `#step=${now + 1}`); } catch { /* a page without a history */ }
}

const divider = (list, i) => (i && list.length > FEW_CARDS && list[i - 1].changed && !list[i].changed ? el("p", { class: "note" }, "Not touched in this step:") : null);
const moreCards = (n) => (n ? el("button", { type: "button", onclick: () => { everyCard = true; show(now); } }, `Show ${plural(n, "more folio")}`) : null);

// Where a mistake begins or ends, from here in one direction.
function turn(direction) {
  for (let i = now + direction; i > 0 && i < steps.length; i += direction)
    if (wrongAt(i) !== wrongAt(i - 1)) return i;
  return direction > 0 ? steps.length - 1 : 0;
}

function timeline() {
  const n = steps.length;
  byId("timeline").replaceChildren(...chosen().flatMap((kernel) => {
    let path = "";
    kernel.steps.forEach((step, i) => { if (step.wrong) path += `M${i} 0h1v10h-1z`; });
    return [
      el("span", { class: "name" }, kernel.name),
      el("div", { class: "strip", title: kernel.steps.some((step) => step.wrong) ? "where it is mistaken" : "never mistaken" },
        el("svg", { viewBox: `0 0 ${n} 13`, preserveAspectRatio: "none" },
          el("rect", { class: "base", x: 0, y: 7, width: n, height: 2 }),
          el("path", { class: "bad", d: path || "M0 0" }),
          el("rect", { class: "here", x: now, y: 11, width: 1, height: 2 })))];
  }));
  for (const [i, line] of lines.entries()) {
    const bad = wrongAt(i);
    if (line) {
      line.querySelector(".sign").textContent = bad ? "✗" : "";
      line.title = bad ? "a kernel is mistaken after this step" : "";
    }
  }
}

function play(on) {
  clearInterval(timer);
  timer = on ? setInterval(() => { if (now === steps.length - 1) play(false); else show(now + 1); }, 2000) : null;
  byId("play").textContent = on ? "Pause" : "Play";
  byId("play").setAttribute("aria-pressed", String(Boolean(on)));
}

const lines = steps.map((_, i) => document.querySelector(`.source li[data-step="${i}"]`));

function start() {
  byId("player").hidden = byId("machine").hidden = false;
  const fieldset = byId("kernels"), narrow = matchMedia("(max-width: 700px)").matches;
  if (narrow && kernels.length > 1) {
    const worst = kernels.reduce((a, b) => (b.steps.filter((s) => s.wrong).length > a.steps.filter((s) => s.wrong).length ? b : a));
    const last = kernels.find((kernel) => kernel.name === "no-page-mapcount") || worst;
    shown.clear();
    shown.add(worst.steps.some((s) => s.wrong) && !last.steps.some((s) => s.wrong) ? worst.name : last.name);
  }
  for (const kernel of kernels)
    fieldset.append(el("label", { title: kernel.since }, el("input", { type: "checkbox", value: kernel.name, checked: shown.has(kernel.name), onchange: (event) => {
      if (event.target.checked) shown.add(kernel.name); else shown.delete(kernel.name);
      timeline();
      show(now, { scroll: false });
    } }), kernel.name));
  byId("slider").max = steps.length;
  byId("slider").addEventListener("input", (event) => show(Number(event.target.value) - 1));
  for (const [id, to] of [["first", () => 0], ["back", () => now - 1], ["next", () => now + 1], ["last", () => steps.length - 1]])
    byId(id).addEventListener("click", () => { play(false); show(to()); });
  byId("play").addEventListener("click", () => { if (now === steps.length - 1) show(0); play(!timer); });
  byId("source").addEventListener("click", (event) => {
    const line = event.target.closest("li[data-step]");
    if (line) { play(false); show(Number(line.dataset.step)); }
  });
  byId("numbers").addEventListener("toggle", () => { if (byId("numbers").open) tables(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.id === "slider") return;
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: steps.length - 1, PageUp: turn(-1), PageDown: turn(1) }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    play(false);
    show(to);
  });
  const asked = /^#step=(\d+)$/.exec(location.hash);
  timeline();
  show(asked ? Number(asked[1]) - 1 : 0);
  performance.mark("ready");
}
