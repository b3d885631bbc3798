// struct folio, word by word, of the flavours that are chosen; each compared with the one before it.

const WHICH = {
  "any folio": null, "order 0": [0, false], "order 1": [1, false], "order 2 to 8": [2, false], "PMD size": [9, false], "hugetlb": [9, true],
};
const MARKS = { "moved gone": ">−", "new gone": "+−", same: "", new: "+", moved: ">", gone: "−", own: "=" };
const shown = new Set(data.shown);
let bits = data.bits, which = "any folio", lit = null;

const width = () => data.widths[bits];
const chosen = () => Object.values(width().layouts).filter((layout) => shown.has(layout.flavour));

// Has a folio of the kind that is chosen this field?
function present(field) {
  if (!WHICH[which]) return true;
  const [order, hugetlb] = WHICH[which];
  if (order < field.min_order || (field.max_order !== null && order > field.max_order)) return false;
  return field.only === "any" || (field.only === "hugetlb") === hugetlb;
}

// What became of each field of a layout: against the layout before it; and what is gone in the next.
function kinds(layouts, i) {
  const found = new Map();
  if (i) for (const change of width().changes[`${layouts[i - 1].flavour} ${layouts[i].flavour}`]) if (change.after) found.set(change.after, change.kind);
  if (i + 1 < layouts.length) for (const change of width().changes[`${layouts[i].flavour} ${layouts[i + 1].flavour}`]) 
    if (change.kind === "gone") found.set(change.before, [found.get(change.before), "gone"].filter((kind) => kind && kind !== "same").join(" "));
  return found;
}

function pieces(layout) {
  const found = new Map();
  const add = (name, offset, size, field) => {
    const key = `${offset} ${size}`;
    if (!found.has(key)) found.set(key, { offset, size, fields: [] });
    found.get(key).fields.push({ name, field });
  };
  for (const field of layout.fields) for (const [name, offset] of field.places) add(name, offset, field.size, field);
  for (const word of layout.own_words) if (![...layout.fields].some((f) => f.name === word.name)) add(word.name, word.offset, word.size, null);
  return [...found.values()].sort((a, b) => a.offset - b.offset);
}

function cell({ offset, size, fields }, kind) {
  const word = Number(bits) / 8, half = word / 2, column = 2 + Math.floor((offset % word) / half);
  const here = fields.filter(({ field }) => !field || present(field));
  const list = here.length ? here : fields, first = list[0].field;
  const state = first ? kind.get(first.name) || "same" : "own";
  return el("div", {
    class: `cell ${state}${here.length || !first ? "" : " absent"}${first && first.name === lit ? " lit" : ""}`,
    style: { "grid-column": `${column} / span ${Math.max(1, size / half)}` },
    "data-field": first ? first.name : null,
    title: list.map(({ name, field }) => `${name}: bytes ${offset} to ${offset + size - 1}${field ? "" : ", the page's own"}`).join("; or "),
  }, list.map(({ name, field }, i) => [
    i ? " / " : null,
    field ? (kind.get(field.name) && kind.get(field.name) !== "same" ? el("b", {}, MARKS[kind.get(field.name)]) : null) : el("b", {}, MARKS.own), name]));
}

function structPage(layout, page, all, kind) {
  const word = Number(bits) / 8, half = word / 2, start = page * layout.sizeof_page;
  const grid = el("div", { class: "words" });
  for (let at = start; at < start + layout.sizeof_page; at += word) {
    grid.append(el("div", { class: "at" }, String(at)));
    const here = all.filter((piece) => piece.offset >= at && piece.offset < at + word);
    for (let byte = at; byte < at + word;) {
      const piece = here.find((p) => p.offset === byte);
      const last = here.filter((p) => p.offset > byte)[0];
      const end = piece ? byte + piece.size : last ? last.offset : at + word;
      if (piece) grid.append(cell(piece, kind));
      else if ((end - byte) % half === 0) grid.append(el("div", { class: "cell free", style: { "grid-column": `${2 + (byte - at) / half} / span ${(end - byte) / half}` }, title: `bytes ${byte} to ${end - 1}: unused` }, "·"));
      byte = Math.max(end, byte + half);
    }
  }
  const order = WHICH[which] ? WHICH[which][0] : 99, exists = page < 2 ** order;
  const whose = page === 0 ? "every folio" : page === 1 ? "order 1 and larger" : "order 2 and larger";
  return el("div", { class: `struct-page${exists ? "" : " absent"}` }, el("h3", {}, `page ${page}: ${exists ? whose : "not there"}`), grid);
}

function drawing(layouts, i) {
  const layout = layouts[i], kind = kinds(layouts, i), all = pieces(layout);
  const pages = layout.sizeof_folio / layout.sizeof_page;
  return el("section", { class: "layout", "data-flavour": layout.flavour, "aria-label": `struct folio of ${layout.flavour}` },
    el("h2", {}, layout.flavour),
    el("p", { class: "since" }, `${layout.since}. ${layout.sizeof_folio} bytes; ${layout.assumes}.`),
    Array.from({ length: pages }, (_, page) => structPage(layout, page, all, kind)),
    el("p", { class: "facts" }, `Page 1: ${layout.page_1.used} of the ${layout.page_1.usable} bytes beside its own words are used.`),
    el("p", { class: "facts" }, layout.problems.length ? el("span", { class: "bad" }, layout.problems.map((p) => `${p.kind}: ${p.field} has ${p.has}, should be ${p.should}`).join("; "))
      : "All fits: no two fields of one folio on the same bytes, no page's own word covered."));
}

const COLUMNS = ["bits", "flavour", "field", "offset", "size", "count", "bias", "min_order", "max_order", "only", "source"];
const fieldRows = (w, layout) => layout.fields.map((f) => [Number(w), layout.flavour, f.label, f.offset, f.size, f.count, f.bias, f.min_order, f.max_order, f.only, f.source]);

function tables() {
  const layouts = chosen(), names = [...new Set(layouts.flatMap((layout) => layout.fields.map((f) => f.name)))];
  const rows = names.map((name) => {
    const fields = layouts.map((layout) => layout.fields.find((f) => f.name === name));
    const any = fields.find(Boolean);
    return el("tr", { "data-field": name, class: name === lit ? "lit" : "" }, el("td", { class: "text" }, any.label),
      fields.map((f) => el("td", {}, f ? String(f.offset) : "—")), el("td", {}, `${any.size}${any.count > 1 ? ` × ${any.count}` : ""}`),
      el("td", { class: "text" }, data.known_by[any.source]));
  });
  byId("tables").replaceChildren(
    el("div", { class: "downloads" }, download("struct-folio.csv", () => [COLUMNS, ...Object.entries(data.widths).flatMap(([w, all]) => Object.values(all.layouts).flatMap((layout) => fieldRows(w, layout)))])),
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Offsets" }, el("table", {},
      el("thead", {}, el("tr", {}, el("th", { class: "text" }, "field"), layouts.map((layout) => el("th", {}, layout.flavour)), el("th", {}, "bytes"), el("th", { class: "text" }, "known by"))),
      el("tbody", {}, rows))));
}

function say(name) {
  if (lit === name) return;
  lit = name;
  for (const node of document.querySelectorAll("[data-field]")) node.classList.toggle("lit", node.dataset.field === name);
  byId("field").textContent = !name ? "" : `${name}: ` + chosen().map((layout) => {
    const field = layout.fields.find((f) => f.name === name);
    return `${layout.flavour} ${field ? `bytes ${field.offset} to ${field.offset + field.size * field.count - 1}` : "has none"}`;
  }).join("; ") + ".";
}

function show() {
  const layouts = chosen();
  byId("layouts").replaceChildren(...(layouts.length ? layouts.map((_, i) => drawing(layouts, i)) : [el("p", { class: "note" }, "No kernel is chosen.")]));
  tables();
}

function choice(id, type, words, ticked, change) {
  byId(id).append(...words.map(([value, text, title]) => el("label", { title }, el("input", { type, name: id, value, checked: ticked(value), onchange: change }), text)));
}

byId("choices").hidden = byId("key").hidden = false;
choice("kernels", "checkbox", Object.values(width().layouts).map((layout) => [layout.flavour, layout.flavour, layout.since]), (name) => shown.has(name), (event) => {
  if (event.target.checked) shown.add(event.target.value); else shown.delete(event.target.value);
  show();
});
choice("bits", "radio", [["64", "64 bits"], ["32", "32 bits"]], (value) => value === bits, (event) => { bits = event.target.value; show(); });
choice("which", "radio", Object.keys(WHICH).map((name) => [name, name]), (value) => value === which, (event) => { which = event.target.value; show(); });
for (const kind of ["pointerover", "click", "focusin"])
  byId("main").addEventListener(kind, (event) => { const at = event.target.closest("[data-field]"); if (at) say(at.dataset.field); });
show();
