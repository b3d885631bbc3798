// A table that is sorted by its heads and filtered by words, with its file.

// Rows that have all words, sorted by a column; unknown values come last.
function arranged(rows, columns, { column, down, words }) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean), texts = columns.filter((c) => c.words);
  const fits = (row) => {
    const text = texts.map((c) => c.value(row)).join(" ").toLowerCase();
    return wanted.every((word) => text.includes(word));
  };
  const { value } = columns[column];
  const keyed = rows.filter(fits).map((row, i) => [row, value(row), i]);
  return keyed.sort(([, a, i], [, b, k]) => {
    if (a === null || b === null) return (a === null) - (b === null) || i - k;
    const order = typeof a === "string" ? a.localeCompare(b) : a - b;
    return (down ? -order : order) || i - k;
  }).map(([row]) => row);
}

// `columns`: title; value(row): number, string or null, what is sorted and written to the file; show(row): what is
// seen, if that is not the value; words: is it text?; picture: a drawing, not for the file; file: its name there;
// hint: more words for the head. `by`: title and direction of the first order.
function sortable({ name, caption, columns, rows, by, first = 50, filtered = true }) {
  const state = { column: columns.findIndex((c) => c.title === by.title), down: by.down, words: "" };
  let most = first;
  const body = el("tbody"), count = el("span", { class: "count", role: "status" });
  const more = el("button", { type: "button", onclick: () => { most = Infinity; draw(); } });
  const look = (c) => [c.words || c.picture ? "text" : "", c.picture ? "picture" : ""].join(" ").trim();
  const press = (i) => {
    state.down = state.column === i ? !state.down : !columns[i].words;
    state.column = i;
    draw();
  };
  const heads = columns.map((c, i) => el("th", { scope: "col", class: look(c) },
    el("button", { type: "button", title: c.hint, onclick: () => press(i) }, c.title)));

  function cell(c, row) {
    const seen = c.show ? c.show(row) : c.value(row);
    const number = typeof seen === "number" ? seen.toLocaleString("en") : seen;
    return el("td", { class: look(c) }, seen === null ? "?" : number);
  }

  function draw() {
    const kept = arranged(rows, columns, state);
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[state.column].setAttribute("aria-sort", state.down ? "descending" : "ascending");
    body.replaceChildren(...kept.slice(0, most).map((row) => el("tr", {}, columns.map((c) => cell(c, row)))));
    const of = kept.length < rows.length ? ` of ${rows.length.toLocaleString("en")}` : "";
    count.textContent = plural(kept.length, "row") + of;
    more.hidden = kept.length <= most;
    more.textContent = `Show all ${kept.length.toLocaleString("en")}`;
  }

  const search = el("input", {
    type: "search", placeholder: "Filter by words", "aria-label": `Filter: ${caption}`,
    oninput: (event) => { state.words = event.target.value; draw(); },
  });
  const written = columns.filter((c) => !c.picture);
  const file = () => [
    written.map((c) => c.file || c.title),
    ...arranged(rows, columns, state).map((row) => written.map((c) => c.value(row))),
  ];
  draw();
  return el("div", {},
    el("div", { class: "tools" }, filtered && rows.length > 4 ? search : null, count, download(`${name}.csv`, file)),
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
      el("table", { class: "sortable" }, el("thead", {}, el("tr", {}, heads)), body)),
    more);
}
