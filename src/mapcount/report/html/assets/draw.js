// Pictures of folios and address spaces: lanes, bars, regions.

const LEVELS = { 0: "PTE", 9: "PMD", 18: "PUD" };
const SWAPPED = -1, ZERO_PAGE = -2;
const MOST_STRETCHES = 400, MOST_CELLS = 128;
const COLOURS = 6, TEXTURES = 4;

// A process's colour and texture, by its place among all processes of the story.
function processClass(name) {
  const place = data.processes.indexOf(name);
  return place < 0 ? "p" : `p p${place % COLOURS} t${place % TEXTURES}`;
}
const swatch = (name) => el("span", { class: `swatch ${processClass(name)}`, "aria-hidden": "true" });

// One disc: one owner. Two discs that overlap: several. A dotted one: nobody.
function icon(word) {
  const disc = (cx) => el("circle", { class: "full", cx, cy: 11, r: 8.5 });
  const discs = {
    shared: () => [disc(13), disc(25)],
    exclusive: () => [disc(19)],
    unmapped: () => [el("circle", { cx: 19, cy: 11, r: 8.5, "stroke-dasharray": "3 3" })],
  };
  return el("svg", { class: "icon", viewBox: "0 0 38 22", "aria-hidden": "true" }, discs[word]());
}

const range = (page, n) => (n === 1 ? `page ${page}` : `pages ${page} to ${page + n - 1}`);
const percent = (part, whole) => `${(100 * part) / whole}%`;

// A stretch of a track: where it is, what it looks like, cells in it, and words if there is room.
function stretch({ page, n, pages, look, title, cells, words }) {
  return el("div", { class: `run ${look}`, style: { left: percent(page, pages), width: percent(n, pages) }, title },
    cells > 0 && cells <= MOST_CELLS ? el("div", { class: "cells", style: { "--pages": cells } }) : null,
    words ? el("b", {}, words) : null);
}

// -- a folio -------------------------------------------------------------------------------------------

// Stretches of one process that overlap (two VMAs over one page) go on rows of their own; PMDs above PTEs.
function rows(stretches) {
  const found = [];
  for (const one of stretches) {
    const [page, n, level] = one;
    const row = found.find((r) => r.level === level && r.end <= page);
    if (row) { row.runs.push(one); row.end = page + n; }
    else found.push({ level, runs: [one], end: page + n });
  }
  return found.sort((a, b) => b.level - a.level);
}

function track(name, pages, row) {
  const [[page, , level, writable]] = row.runs;
  const drawn = row.runs.length <= MOST_STRETCHES ? row.runs : [[page, row.end - page, level, writable]];
  const title = drawn === row.runs ? null : `${row.runs.length} stretches`;
  return el("div", { class: `track ${level ? "pmd" : "pte"}`, title },
    drawn.map(([first, n, , may]) => entries(name, pages, first, n, level, may)));
}

function entries(name, pages, page, n, level, writable) {
  const share = n / pages, access = writable ? "writable" : "read-only";
  const what = level ? `${LEVELS[level]}, ${n} pages` : pages <= 64 && share < 0.3 ? "" : plural(n, "PTE");
  return stretch({
    page, n, pages, look: processClass(name) + (writable ? "" : " ro"),
    title: `${name} maps ${range(page, n)} by ${LEVELS[level]}, ${access}`,
    cells: level || pages > MOST_CELLS ? 0 : n,
    words: share > 0.12 && what ? what + (writable || share < 0.3 ? "" : ", read-only") : "",
  });
}

// Who maps which pages of a folio: a lane for each process, from page tables alone.
function lanes(folio) {
  const pages = 2 ** folio.order;
  if (!folio.lanes.length) return el("p", { class: "nobody" }, "Nobody maps it.");
  return el("div", { class: "lanes", role: "img", "aria-label": lanesInWords(folio) },
    folio.lanes.map(([name, stretches]) => [
      el("div", { class: "who" }, swatch(name), name),
      el("div", { class: "tracks" }, rows(stretches).map((row) => track(name, pages, row)))]),
    folio.exclusive.length && folio.kind === "anon" ? exclusiveMarks(folio, pages) : null,
    el("div", { class: "axis" }, el("span", {}, "0"), pages > 1 ? el("span", {}, `${pages} pages`) : null));
}

function exclusiveMarks(folio, pages) {
  const mark = ([page, n]) => el("i", { style: { left: percent(page, pages), width: percent(n, pages) } });
  return [
    el("div", { class: "marks" }, "anon excl."),
    el("div", { class: "mark", title: "pages marked anonymous and exclusive" }, folio.exclusive.map(mark))];
}

function lanesInWords(folio) {
  return folio.lanes.map(([name, stretches]) => {
    const words = stretches.slice(0, 4).map(([page, n, level]) => `${range(page, n)} by ${LEVELS[level]}`);
    const more = stretches.length > 4 ? ` and ${stretches.length - 4} more stretches` : "";
    return `${name} maps ${words.join(", ")}${more}`;
  }).join("; ");
}

// Two bars to one scale: whose mappings there are, and whose the slots have seen.
function bars(folio) {
  const total = folio.counters.large_mapcount;
  if (!total || !folio.slots) return null;
  const held = folio.slots.filter(Boolean), names = held.map(([name]) => name);
  const place = (name) => (names.includes(name) ? names.indexOf(name) : names.length);
  const owned = [...folio.owners].sort(([a], [b]) => place(a) - place(b));
  const unseen = total - held.reduce((sum, [, n]) => sum + n, 0);
  const words = (pairs) => pairs.map(([name, n]) => `${name} ${n}`).join(", ");
  const label = `Truly mapped: ${words(owned)}. Seen by the slots: ${words(held) || "none"}; unseen: ${unseen}.`;
  return el("div", { class: "bars", role: "img", "aria-label": label },
    el("span", {}, "truth"),
    el("div", { class: "bar" }, owned.map(([name, n]) => part(n, total, name, `${name} has ${plural(n, "mapping")}`))),
    el("span", {}, "slots"),
    el("div", { class: "bar" },
      held.map(([name, n]) => part(n, total, name, `a slot has seen ${plural(n, "mapping")} of ${name}`)),
      unseen > 0 ? part(unseen, total, null, `${plural(unseen, "mapping")} that no slot has seen`) : null));
}

function part(n, total, name, title) {
  const look = name ? processClass(name) : "unseen", words = n / total > 0.1 ? `${name || "unseen"} ${n}` : null;
  return el("div", { class: `part ${look}`, style: { "--n": n }, title }, words ? el("b", {}, words) : null);
}

// How often each page is mapped, as /proc says: a step line over the folio's pages, `most` at its top.
function profile(folio, most) {
  const pages = 2 ** folio.order, height = 24, y = (count) => height - 1 - (count / most) * (height - 3);
  let page = 0, path = "";
  for (const [n, count] of folio.kpagecount) {
    path += `${path ? "V" : "M0 "}${y(count)}H${page + n}`;
    page += n;
  }
  return el("div", { class: "profile" },
    el("small", {}, `mapcount in /proc by page (top: ${most})`),
    el("svg", { viewBox: `0 0 ${pages} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      el("path", { class: "under", d: `${path}V${height}H0Z` }), el("path", { class: "over", d: path })));
}

// -- an address space ----------------------------------------------------------------------------------

// What an address range points at. `pieces`: [page, pages, level or what else, writable, order].
function region(process, [name, pages, pieces]) {
  const first = pieces[0], last = pieces[pieces.length - 1];
  const joined = () => [[first[0], last[0] + last[1] - first[0], ...first.slice(2)]];
  const drawn = pieces.length <= MOST_STRETCHES ? pieces : joined();
  const present = pieces.reduce((sum, [, n, level]) => sum + (level >= 0 ? n : 0), 0);
  const some = present ? `, ${size(4 * present)} present` : ", nothing present";
  return el("div", { class: "region" },
    el("small", {}, `${name} ${size(4 * pages)}${present === pages ? "" : some}`),
    el("div", { class: "track" }, drawn.map((piece) => pointed(process, pages, piece))));
}

function pointed(process, pages, [page, n, level, writable, order]) {
  const folio = size(4 * 2 ** order), wide = n / pages > 0.1;
  const other = { [SWAPPED]: ["swapped", "in swap", "swap"], [ZERO_PAGE]: ["zeroes", "the zero page", "zero page"] };
  if (level in other) {
    const [look, what, words] = other[level];
    return stretch({ page, n, pages, look, title: `${range(page, n)}: ${what}`, words: wide && words });
  }
  const access = writable ? "writable" : "read-only", folios = order ? n / 2 ** order : 1;
  return stretch({
    page, n, pages, look: processClass(process) + (writable ? "" : " ro"),
    title: `${range(page, n)}: ${LEVELS[level]}s into ${folio} folios, ${access}`,
    cells: folios > 1 ? folios : 0,
    words: wide && (level ? LEVELS[level] : folio),
  });
}
