// Pictures of folios and address spaces: lanes, slots, bars.

const LEVELS = { 0: "PTE", 9: "PMD", 18: "PUD" };
const MOST_STRETCHES = 400;

// A process's colour and texture, by its place among all processes of the story.
function processClass(name) {
  const at = data.processes.indexOf(name);
  return at < 0 ? "p" : `p p${at % 6} t${at % 4}`;
}
const swatch = (name) => el("span", { class: `swatch ${processClass(name)}`, "aria-hidden": "true" });

// One disc: one owner. Two discs that overlap: several.
function icon(word) {
  const one = (x) => el("circle", { class: "full", cx: x, cy: 11, r: 8.5 });
  return el("svg", { class: "icon", viewBox: "0 0 38 22", "aria-hidden": "true" },
    word === "shared" ? [one(13), one(25)] : word === "exclusive" ? [one(19)]
      : [el("circle", { cx: 19, cy: 11, r: 8.5, "stroke-dasharray": "3 3" })]);
}

const range = (page, n) => (n === 1 ? `page ${page}` : `pages ${page} to ${page + n - 1}`);

// Stretches of one process that overlap (two VMAs over one page) go on rows of their own.
function rows(stretches) {
  const found = [];
  for (const stretch of stretches) {
    const row = found.find((r) => r.level === stretch[2] && r.end <= stretch[0]);
    if (row) { row.runs.push(stretch); row.end = stretch[0] + stretch[1]; }
    else found.push({ level: stretch[2], runs: [stretch], end: stretch[0] + stretch[1] });
  }
  return found.sort((a, b) => b.level - a.level);
}

function track(name, pages, row) {
  const node = el("div", { class: `track ${row.level ? "pmd" : "pte"}` });
  const few = row.runs.length <= MOST_STRETCHES ? row.runs : [[row.runs[0][0], row.end - row.runs[0][0], row.level, row.runs[0][3]]];
  for (const [page, n, level, writable] of few) {
    const share = n / pages;
    const words = (level ? `${LEVELS[level]}, ${n} pages` : pages <= 64 && share < 0.3 ? "" : plural(n, "PTE")) + (writable || share < 0.3 ? "" : ", read-only");
    node.append(el("div", {
      class: `run ${processClass(name)}${writable ? "" : " ro"}`,
      style: { left: `${(100 * page) / pages}%`, width: `${100 * share}%` },
      title: `${name} maps ${range(page, n)} by ${LEVELS[level]}, ${writable ? "writable" : "read-only"}`,
    }, !level && pages <= 128 ? el("div", { class: "cells", style: { "--pages": n } }) : null,
    share > 0.12 && words ? el("b", {}, words) : null));
  }
  if (few !== row.runs) node.title = `${row.runs.length} stretches`;
  return node;
}

// Who maps which pages of a folio: a lane for each process, from page tables alone.
function lanes(folio) {
  const pages = 2 ** folio.order;
  if (!folio.lanes.length) return el("p", { class: "nobody" }, "Nobody maps it.");
  const grid = el("div", { class: "lanes", role: "img", "aria-label": lanesInWords(folio) });
  for (const [name, stretches] of folio.lanes)
    grid.append(
      el("div", { class: "who" }, swatch(name), name),
      el("div", { class: "tracks" }, rows(stretches).map((row) => track(name, pages, row))));
  if (folio.exclusive.length && folio.kind === "anon")
    grid.append(
      el("div", { class: "marks" }, "anon excl."),
      el("div", { class: "mark", title: "pages marked anonymous and exclusive" },
        folio.exclusive.map(([page, n]) => el("i", { style: { left: `${(100 * page) / pages}%`, width: `${(100 * n) / pages}%` } }))));
  grid.append(el("div", { class: "axis" }, el("span", {}, "0"), pages > 1 ? el("span", {}, `${pages} pages`) : null));
  return grid;
}

function lanesInWords(folio) {
  return folio.lanes.map(([name, stretches]) => {
    const shown = stretches.slice(0, 4).map(([page, n, level]) => `${range(page, n)} by ${LEVELS[level]}`);
    return `${name} maps ${shown.join(", ")}${stretches.length > 4 ? ` and ${stretches.length - 4} more stretches` : ""}`;
  }).join("; ");
}

function part(n, words, name, title) {
  return el("div", { class: `part ${name ? processClass(name) : "unseen"}`, style: { "--n": n }, title }, el("b", {}, words));
}

// Two bars to one scale: whose mappings there are, and whose the slots have seen.
function bars(folio) {
  const total = folio.counters.large_mapcount;
  if (!total || !folio.slots) return null;
  const held = folio.slots.filter(Boolean), inSlots = held.map(([name]) => name);
  const owners = [...folio.owners].sort(([a], [b]) => place(inSlots, a) - place(inSlots, b));
  const unseen = total - held.reduce((sum, [, n]) => sum + n, 0);
  return el("div", { class: "bars", role: "img", "aria-label":
    `Truly mapped: ${owners.map(([name, n]) => `${name} ${n}`).join(", ")}. Seen by the slots: ${held.map(([name, n]) => `${name} ${n}`).join(", ") || "none"}; unseen: ${unseen}.` },
  el("span", {}, "truth"),
  el("div", { class: "bar" }, owners.map(([name, n]) => part(n, `${name} ${n}`, name, `${name} has ${plural(n, "mapping")}`))),
  el("span", {}, "slots"),
  el("div", { class: "bar" },
    held.map(([name, n]) => part(n, `${name} ${n}`, name, `a slot has seen ${plural(n, "mapping")} of ${name}`)),
    unseen > 0 ? part(unseen, `unseen ${unseen}`, null, `${plural(unseen, "mapping")} that no slot has seen`) : null));
}
const place = (names, name) => (names.indexOf(name) < 0 ? names.length : names.indexOf(name));

// What an address range points at. `pieces`: [page, pages, level or what else, writable, order].
function region(process, [name, pages, pieces]) {
  const node = el("div", { class: "track" });
  const few = pieces.length <= MOST_STRETCHES ? pieces : joined(pieces);
  for (const [page, n, level, writable, order] of few) {
    const share = n / pages;
    const words = level === -1 ? "swap" : level === -2 ? "zero page" : level ? LEVELS[level] : order ? size(4 * 2 ** order) : "4K";
    const where = level === -1 ? "in swap" : level === -2 ? "the zero page" : `${LEVELS[level]}s into ${size(4 * 2 ** order)} folios, ${writable ? "writable" : "read-only"}`;
    const alike = order && level >= 0 ? n / 2 ** order : 1;
    node.append(el("div", {
      class: `run ${level === -1 ? "swapped" : level === -2 ? "zeroes" : processClass(process) + (writable ? "" : " ro")}`,
      style: { left: `${(100 * page) / pages}%`, width: `${100 * share}%` },
      title: `${range(page, n)}: ${where}`,
    }, alike > 1 && alike <= 128 ? el("div", { class: "cells", style: { "--pages": alike } }) : null,
    share > 0.1 ? el("b", {}, words) : null));
  }
  const present = pieces.reduce((sum, piece) => sum + (piece[2] >= 0 ? piece[1] : 0), 0);
  return el("div", { class: "region" },
    el("small", {}, `${name} ${size(4 * pages)}${present === pages ? "" : present ? `, ${size(4 * present)} present` : ", nothing present"}`), node);
}

function joined(pieces) {
  const first = pieces[0], last = pieces[pieces.length - 1];
  return [[first[0], last[0] + last[1] - first[0], first[2], first[3], first[4]]];
}
