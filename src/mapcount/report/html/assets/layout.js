// struct folio, word by word, of the flavours that are chosen; each compared with the one before it.

// Which folios' fields are shown: [order, hugetlb?]; null is all.
const WHICH = {
  "any folio": null, "order 0": [0, false], "order 1": [1, false], "order 2 to 8": [2, false],
  "PMD size": [9, false], hugetlb: [9, true],
};
const MARKS = { moved: ">", new: "+", gone: "−", own: "=" };
const shown = new Set(data.shown);
let bits = data.bits, which = "any folio", lit = null;

const width = () => data.widths[bits];
const word = () => Number(bits) / 8;
const chosen = () => Object.values(width().layouts).filter((layout) => shown.has(layout.flavour));
const fieldOf = (layout, name) => layout.fields.find((field) => field.name === name);

// Has a folio of the kind that is chosen this field?
function present(field) {
  if (!WHICH[which]) return true;
  const [order, hugetlb] = WHICH[which];
  if (order < field.min_order || (field.max_order !== null && order > field.max_order)) return false;
  return field.only === "any" || (field.only === "hugetlb") === hugetlb;
}

// What became of each field: `new` or `moved` against the layout before, `gone` in the next; or both.
function kinds(layouts, i) {
  const found = new Map(), between = (a, b) => width().changes[`${a.flavour} ${b.flavour}`];
  const add = (name, kind) => found.set(name, [...(found.get(name) || []), kind]);
  if (i > 0)
    for (const { kind, after } of between(layouts[i - 1], layouts[i])) if (after && kind !== "same") add(after, kind);
  if (i + 1 < layouts.length)
    for (const { kind, before } of between(layouts[i], layouts[i + 1])) if (kind === "gone") add(before, kind);
  return found;
}

// What lies at each place: parts of fields, several where folios of different kinds use it, or a page's own word.
function pieces(layout) {
  const found = new Map();
  const add = (name, offset, size, field) => {
    const key = `${offset} ${size}`;
    if (!found.has(key)) found.set(key, { offset, size, parts: [] });
    found.get(key).parts.push({ name, field });
  };
  for (const field of layout.fields) for (const [name, offset] of field.places) add(name, offset, field.size, field);
  for (const own of layout.own_words) if (!fieldOf(layout, own.name)) add(own.name, own.offset, own.size, null);
  return [...found.values()].sort((a, b) => a.offset - b.offset);
}

const column = (offset, size) => {
  const half = word() / 2;
  return { "grid-column": `${2 + Math.floor((offset % word()) / half)} / span ${Math.max(1, size / half)}` };
};

function cell({ offset, size, parts }, kind) {
  const here = parts.filter(({ field }) => !field || present(field));
  const list = here.length ? here : parts, [{ field: first }] = list;
  const kindsOf = (field) => (field ? kind.get(field.name) || [] : ["own"]);
  const look = kindsOf(first).join(" ") || "same", absent = here.length ? "" : " absent";
  const own = (field) => (field ? "" : ", the page's own");
  const title = list.map(({ name, field }) => `${name}: bytes ${offset} to ${offset + size - 1}${own(field)}`);
  const words = list.map(({ name, field }, i) => {
    const marks = kindsOf(field).map((one) => MARKS[one]).join("");
    return [i ? " / " : null, marks ? el("b", {}, marks) : null, name];
  });
  const name = first ? first.name : null, light = name && name === lit ? " lit" : "";
  return el("div", {
    class: `cell ${look}${absent}${light}`, style: column(offset, size), "data-field": name, title: title.join("; or "),
  }, words);
}

const unused = (from, to) =>
  el("div", { class: "cell free", style: column(from, to - from), title: `bytes ${from} to ${to - 1}: unused` }, "·");

// The cells of one machine word.
function wordCells(from, all, kind) {
  const half = word() / 2, end = from + word(), cells = [];
  const here = all.filter(({ offset }) => offset >= from && offset < end);
  for (let byte = from; byte < end;) {
    const piece = here.find(({ offset }) => offset === byte), after = here.find(({ offset }) => offset > byte);
    const to = piece ? byte + piece.size : after ? after.offset : end;
    if (piece) cells.push(cell(piece, kind));
    else if ((to - byte) % half === 0) cells.push(unused(byte, to));
    byte = to;
  }
  return cells;
}

function structPage(layout, page, all, kind) {
  const start = page * layout.sizeof_page, words = layout.sizeof_page / word();
  const grid = Array.from({ length: words }, (_, i) => start + i * word()).map((from) =>
    [el("div", { class: "at" }, String(from)), wordCells(from, all, kind)]);
  const exists = !WHICH[which] || page < 2 ** WHICH[which][0];
  const whose = ["every folio", "order 1 and larger"][page] || "order 2 and larger";
  return el("div", { class: `struct-page${exists ? "" : " absent"}` },
    el("h3", {}, `page ${page}: ${exists ? whose : "not there"}`),
    el("div", { class: "words" }, grid));
}

function drawing(layouts, i) {
  const layout = layouts[i], kind = kinds(layouts, i), all = pieces(layout);
  const { used, usable } = layout.page_1;
  const broken = layout.problems.map((p) => `${p.kind}: ${p.field} has ${p.has}, should be ${p.should}`).join("; ");
  const label = `struct folio of ${layout.flavour}`;
  return el("section", { class: "layout", "data-flavour": layout.flavour, "aria-label": label },
    el("h2", {}, layout.flavour),
    el("p", { class: "since" }, `${layout.since}. ${layout.sizeof_folio} bytes; ${layout.assumes}.`),
    Array.from({ length: layout.sizeof_folio / layout.sizeof_page }, (_, page) => structPage(layout, page, all, kind)),
    el("p", { class: "facts" }, `Page 1: ${used} of the ${usable} bytes beside its own words are used.`),
    el("p", { class: "facts" }, broken ? el("span", { class: "bad" }, broken)
      : "All fits: no two fields of one folio on the same bytes, no page's own word covered."));
}

// -- numbers -------------------------------------------------------------------------------------------

const COLUMNS = [
  "bits", "flavour", "label", "offset", "size", "count", "bias", "min_order", "max_order", "only", "source",
];

function everyField() {
  const rows = ([w, { layouts }]) => Object.values(layouts).flatMap((layout) => layout.fields.map((field) =>
    COLUMNS.map((name) => ({ bits: Number(w), flavour: layout.flavour })[name] ?? field[name])));
  return [COLUMNS, ...Object.entries(data.widths).flatMap(rows)];
}

function tables() {
  const layouts = chosen(), names = new Set(layouts.flatMap((layout) => layout.fields.map((field) => field.name)));
  const rows = [...names].map((name) => {
    const fields = layouts.map((layout) => fieldOf(layout, name)), any = fields.find(Boolean);
    return el("tr", { "data-field": name, class: name === lit ? "lit" : "" },
      el("td", { class: "text" }, any.label),
      fields.map((field) => el("td", {}, field ? String(field.offset) : "—")),
      el("td", {}, `${any.size}${any.count > 1 ? ` × ${any.count}` : ""}`),
      el("td", { class: "text" }, data.known_by[any.source]));
  });
  const heads = layouts.map((layout) => el("th", {}, layout.flavour));
  byId("tables").replaceChildren(
    el("div", { class: "downloads" }, download("struct-folio.csv", everyField)),
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Offsets" }, el("table", {},
      el("thead", {}, el("tr", {},
        el("th", { class: "text" }, "field"), heads, el("th", {}, "bytes"), el("th", { class: "text" }, "known by"))),
      el("tbody", {}, rows))));
}

// -- what is pointed at, what is chosen ----------------------------------------------------------------

function point(name) {
  if (lit === name) return;
  lit = name;
  for (const node of document.querySelectorAll("[data-field]"))
    node.classList.toggle("lit", node.dataset.field === name);
  const places = chosen().map((layout) => {
    const field = fieldOf(layout, name), end = field ? field.offset + field.size * field.count - 1 : 0;
    return `${layout.flavour} ${field ? `bytes ${field.offset} to ${end}` : "has none"}`;
  });
  byId("field").textContent = `${name}: ${places.join("; ")}.`;
}

function show() {
  const layouts = chosen(), none = el("p", { class: "note" }, "No kernel is chosen.");
  byId("layouts").replaceChildren(...(layouts.length ? layouts.map((_, i) => drawing(layouts, i)) : [none]));
  tables();
}

function choices(id, type, values, ticked, change, words = String) {
  byId(id).append(...values.map((value) => el("label", {},
    el("input", { type, name: id, value, checked: ticked(value), onchange: change }), words(value))));
}

byId("choices").hidden = byId("key").hidden = false;
choices("kernels", "checkbox", Object.keys(width().layouts), (name) => shown.has(name), ({ target }) => {
  if (target.checked) shown.add(target.value);
  else shown.delete(target.value);
  show();
});
choices("bits", "radio", Object.keys(data.widths).sort().reverse(), (value) => value === bits, ({ target }) => {
  bits = target.value;
  show();
}, (value) => `${value} bits`);
choices("which", "radio", Object.keys(WHICH), (value) => value === which, ({ target }) => {
  which = target.value;
  show();
});
for (const kind of ["pointerover", "click", "focusin"])
  byId("main").addEventListener(kind, (event) => {
    const field = event.target.closest("[data-field]");
    if (field) point(field.dataset.field);
  });
show();
