// Folios as cards: the truth once, and below it what each kernel keeps and believes.

const FEW_CARDS = 4, MOST_CARDS = 24;
const ENTIRELY_MAPPED = 0x800000;
let everyCard = false;

// A value, and what it was before if that was another. `before` undefined: nothing to compare with; null: not there.
function value(text, before) {
  if (before === undefined || before === text) return el("span", {}, String(text));
  const old = before === null ? null : el("span", { class: "old" }, String(before));
  return el("span", { class: "chg" }, old, String(text));
}

// What a folio was one step ago, on the same kernel: known by its page frame. Null if it is new. Of look-alikes,
// what one of them was that was not as it is now.
function folioBefore(kernel, folio, where) {
  if (!now) return undefined;
  let found = folio;
  for (const [pfn] of where.frames) {
    const was = kernel.steps[now - 1].folios.find(([record, places]) =>
      at(record).order === folio.order
      && at(places).frames.some(([first, n]) => first <= pfn && pfn < first + n));
    if (!was) found = null;
    else if (at(was[0]) !== folio) return at(was[0]);
  }
  return found;
}

// Folios that look alike on several kernels are one card. Where there are many cards, those that changed come
// first, then those that a kernel is mistaken about.
function cards() {
  const found = new Map();
  for (const kernel of chosen())
    for (const [record, places] of kernel.steps[now].folios) {
      const folio = at(record), where = at(places);
      const { kind, order, truth, owners, lanes, exclusive } = folio;
      const key = JSON.stringify([where.shown, where.count, kind, order, truth, owners, lanes, exclusive]);
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

function drawCards(list) {
  if (!list.length) return [el("p", { class: "nobody" }, "No folio is in memory.")];
  const kept = everyCard ? list : list.slice(0, MOST_CARDS);
  const drawn = [];
  kept.forEach((group, i) => {
    const turn = i && list.length > FEW_CARDS && kept[i - 1].changed && !group.changed;
    if (turn) drawn.push(el("p", { class: "note" }, "Not touched in this step:"));
    drawn.push(card(group));
  });
  if (kept.length < list.length) {
    const all = () => { everyCard = true; show(now); };
    const words = `Show ${plural(list.length - kept.length, "more folio")}`;
    drawn.push(el("button", { type: "button", onclick: all }, words));
  }
  return drawn;
}

const some = (names, most) => names.slice(0, most).join(", ") + (names.length > most ? ", …" : "");
const owners = (folio) => folio.owners.map(([name]) => name);

function card({ folio, where, on, before, changed }) {
  const names = owners(folio), many = where.count > 1;
  const whose = names.length === 1 ? ` to ${names[0]}` : names.length ? ` by ${some(names, 6)}` : "";
  const number = many ? `${where.count.toLocaleString("en")} × ` : "";
  const kind = `${folio.kind} ${number}${size(4 * 2 ** folio.order)} ${many ? "folios alike" : "folio"}`;
  const fresh = before.every((one) => one === null), varied = on.some((one) => one.folio.kpagecount.length > 1);
  const most = Math.max(...on.flatMap((one) => one.folio.kpagecount.map(([, count]) => count)));
  return el("article", { class: `card${changed ? " changed" : ""}${many ? " stack" : ""}` },
    el("header", {},
      el("h3", { class: "place" }, where.shown.join(", ") + (where.more ? ` and ${where.more} more` : "")),
      el("span", { class: "kind" }, kind),
      fresh ? el("span", { class: "chg" }, "new in this step") : null,
      el("span", { class: "truth" },
        icon(folio.truth), el("span", {}, "truth: ", el("b", {}, folio.truth), whose))),
    lanes(folio),
    el("div", { class: "beliefs" }, on.map((one, i) => belief(one.kernel, one.folio, before[i], varied ? most : 0)), schemes(on)));
}

// A kernel or a scheme says of a folio that it is shared, or not: the head of what it keeps.
function verdict(name, says, said, folio, wrong) {
  const names = owners(folio), several = names.length ? `${some(names, 4)} map it` : "nobody maps it";
  const fact = names.length === 1 ? `only ${names[0]} maps it` : several;
  return [
    el("div", { class: "head" },
      el("span", { class: "kernel" }, name),
      el("span", { class: "verdict" },
        icon(says), el("span", {}, "says ", el("b", {}, value(says, said))),
        wrong ? el("span", { class: "wrong-tag" }, "✗ WRONG") : null)),
    wrong ? el("p", { class: "because" }, `It says ${says}, but ${fact}.`) : null,
  ];
}

const word = (maybeShared) => (maybeShared ? "shared" : "exclusive");

// `most`: the largest map count of any page on any kernel, where pages differ; else 0.
function belief(kernel, folio, before, most) {
  const said = before ? word(before.maybe_shared) : undefined;
  return el("div", { class: `belief${folio.wrong ? " wrong" : ""}`, "data-kernel": kernel.name },
    verdict(kernel.name, word(folio.maybe_shared), said, folio, folio.wrong),
    folio.slots ? slots(folio, before) : null,
    bars(folio),
    most ? profile(folio, most) : null,
    counters(folio, before));
}

// What other schemes than the kernel's say, where the run was asked for some.
const wrongSchemes = (folio) =>
  Object.keys(folio.schemes).filter((name) => folio.schemes[name] !== (folio.truth === "shared"));

// They hear the same on each kernel; should answers differ all the same, each has its box.
function schemes(on) {
  const found = new Map(on.flatMap(({ folio }) =>
    Object.entries(folio.schemes).map(([name, maybe]) => [`${name} ${maybe}`, { name, maybe, folio }])));
  return [...found.values()].map(({ name, maybe, folio }) => {
    const wrong = wrongSchemes(folio).includes(name);
    return el("div", { class: `belief${wrong ? " wrong" : ""}`, "data-scheme": name },
      verdict(`scheme ${name}`, word(maybe), undefined, folio, wrong));
  });
}

function slots(folio, before) {
  const old = before && before.slots;
  const held = (slot) => (slot ? `${slot[0]}:${slot[1]}` : "free");
  const box = (i) => {
    const slot = folio.slots[i], was = old ? held(old[i]) : undefined;
    const changed = was !== undefined && was !== held(slot);
    return el("div", { class: `slot${changed ? " chg" : ""}` },
      el("small", {}, `slot ${i}`, changed ? `, was ${was}` : null),
      slot ? el("span", { class: "held" }, swatch(slot[0]), held(slot)) : el("span", { class: "free" }, "free"));
  };
  const flag = (f) => (f.counters.mm_ids_shared ? "set" : "clear");
  const moved = old && flag(before) !== flag(folio);
  return el("div", { class: "slots" }, box(0), box(1),
    el("div", { class: `flag${moved ? " chg" : ""}` },
      el("small", {}, "shared flag"), el("b", {}, flag(folio))));
}

// Words, field and value of each counter that a folio has.
function counterWords(folio) {
  const c = folio.counters;
  const entirely = (n) => (n % ENTIRELY_MAPPED) + (n >= ENTIRELY_MAPPED ? " + entirely" : "");
  return [
    ["total", "large_mapcount", c.large_mapcount],
    ["entire", "entire_mapcount", c.entire_mapcount],
    ["pages mapped", "nr_pages_mapped", c.nr_pages_mapped === undefined ? undefined : entirely(c.nr_pages_mapped)],
    ["mapped pages in all", "total_mapped_pages", c.total_mapped_pages],
    ["mapcount in /proc", "kpagecount", runLength(folio.kpagecount)],
    ["refcount", "refcount", c.refcount],
    ["pins", "pincount", c.pincount || undefined],
    ["queued", "partially_mapped", folio.partially_mapped ? "partially mapped" : undefined],
  ].filter(([, , v]) => v !== undefined);
}

// Pages × map count, page by page while that is short, else how many pages have each count.
function runLength(runs) {
  if (runs.length === 1) return `${runs[0][1]}`;
  if (runs.length <= 4) return runs.map(([n, count]) => `${n}×${count}`).join(" ");
  const pages = new Map();
  for (const [n, count] of runs) pages.set(count, (pages.get(count) || 0) + n);
  const words = [...pages].sort(([a], [b]) => b - a).map(([count, n]) => `${n}×${count}`);
  return `${words.join(", ")}, in turns`;
}

function counters(folio, before) {
  const comparable = before && before.order === folio.order;
  const old = new Map(comparable ? counterWords(before).map(([, field, v]) => [field, v]) : []);
  const was = (field) => (old.size ? (old.has(field) ? old.get(field) : null) : undefined);
  return el("dl", { class: "counters" }, counterWords(folio).map(([words, field, v]) =>
    el("div", {}, el("dt", {}, words), el("dd", { "data-field": field }, value(v, was(field))))));
}
