// A table that is sorted by its heads and filtered by words, with its file.

// `columns`: title; value(row): number, string or null, what is sorted and written to the file; show(row): what is
// seen, if that is not the value; words: is it text?; picture: has it no value at all?
function sortable({ name, caption, columns, rows, by, first = 50, filtered = true }) {
  let column = columns.findIndex((c) => c.title === by.title), down = by.down, words = "", most = first;
  const body = el("tbody"), count = el("span", { class: "count", role: "status" }), more = el("button", { type: "button" });
  const files = columns.filter((c) => !c.picture);
  const heads = columns.map((c, i) => el("th", { scope: "col", class: [c.words ? "text" : "", c.picture ? "picture text" : ""].join(" ").trim() },
    el("button", { type: "button", title: c.title_long || null, onclick: () => { down = column === i ? !down : !c.words; column = i; draw(); } }, c.title)));

  function chosen() {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    const texts = columns.filter((c) => c.words);
    const kept = rows.filter((row) => { const text = texts.map((c) => c.value(row)).join(" ").toLowerCase(); return wanted.every((word) => text.includes(word)); });
    const value = columns[column].value;
    return kept.map((row, i) => [row, value(row), i]).sort(([, a, i], [, b, k]) => {
      if (a === null || b === null) return (a === null) - (b === null) || i - k;
      const order = typeof a === "string" ? a.localeCompare(b) : a - b;
      return (down ? -order : order) || i - k;
    }).map(([row]) => row);
  }

  function draw() {
    const kept = chosen();
    heads.forEach((head, i) => { if (i === column) head.setAttribute("aria-sort", down ? "descending" : "ascending"); else head.removeAttribute("aria-sort"); });
    body.replaceChildren(...kept.slice(0, most).map((row) => el("tr", {}, columns.map((c) => {
      const seen = c.show ? c.show(row) : c.value(row);
      return el("td", { class: [c.words ? "text" : "", c.picture ? "picture text" : ""].join(" ").trim() }, seen === null ? "?" : typeof seen === "number" ? seen.toLocaleString("en") : seen);
    }))));
    count.textContent = kept.length < rows.length ? `${plural(kept.length, "row")} of ${rows.length.toLocaleString("en")}` : plural(rows.length, "row");
    more.hidden = kept.length <= most;
    more.textContent = `Show all ${kept.length.toLocaleString("en")}`;
  }

  more.addEventListener("click", () => { most = Infinity; draw(); });
  const search = el("input", { type: "search", placeholder: "Filter by words", "aria-label": `Filter: ${caption}`, oninput: (event) => { words = event.target.value; draw(); } });
  draw();
  return el("div", {},
    el("div", { class: "tools" }, filtered && rows.length > 4 ? search : null, count, download(`${name}.csv`, () => [files.map((c) => c.file || c.title), ...chosen().map((row) => files.map((c) => c.value(row)))])),
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption }, el("table", { class: "sortable" }, el("thead", {}, el("tr", {}, heads)), body)),
    more);
}
