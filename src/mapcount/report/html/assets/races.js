// Races: an interleaving step by step, a column for each thread; and all that were explored.

let race = data.shown[0], now = 0;

// -- what a race is ------------------------------------------------------------------------------------

function about({ name, story, start, threads }) {
  const term = (word, said) => [el("dt", {}, word), el("dd", {}, said)];
  return [
    el("p", { class: "story" }, el("code", {}, name), story ? `: ${story}` : null),
    el("dl", { class: "race" },
      term("at the start", start.join("; ")), threads.map((thread) => term(thread.name, thread.words))),
  ];
}

// -- an interleaving -----------------------------------------------------------------------------------

function stepRow(step, i) {
  const done = [step.step, step.read === null ? null : [" ", el("span", { class: "read" }, step.read)]];
  return el("tr", { class: step.buffered ? "buffered" : "", onclick: () => show(i) },
    el("td", {}, String(i + 1)),
    race.threads.map(({ name }) => el("td", {}, name === step.thread ? done : null)),
    el("td", { class: "changes" }, step.words.map((words) => el("div", {}, words))));
}

// What each cell holds after so many steps.
function memoryAfter(count) {
  const cells = new Map(race.cells);
  for (const { after } of race.steps.slice(0, count))
    for (const [cell, value] of Object.entries(after)) cells.set(cell, value);
  return cells;
}

function memory() {
  const before = memoryAfter(now);
  const box = ([cell, value]) => {
    const old = before.get(cell), changed = old !== value;
    return el("div", { class: changed ? "chg" : "", "data-cell": cell },
      el("dt", {}, cell), el("dd", {}, changed ? el("span", { class: "old" }, old) : null, value));
  };
  const last = now === race.steps.length - 1;
  return [
    el("h3", {}, "Memory after this step"),
    el("dl", { class: "cells-of" }, [...memoryAfter(now + 1)].map(box)),
    el("p", { class: "end" }, last ? `${race.property} is broken: ${race.message}` : ""),
  ];
}

function show(i) {
  const most = race.steps.length;
  now = Math.max(0, Math.min(most - 1, i));
  byId("at").textContent = `step ${now + 1} of ${most}, ${race.steps[now].thread}: ${race.steps[now].step}`;
  for (const id of ["first", "back"]) byId(id).disabled = now === 0;
  for (const id of ["next", "last"]) byId(id).disabled = now === most - 1;
  [...document.querySelectorAll(".threads tbody tr")].forEach((row, k) => {
    row.classList.toggle("to-come", k > now);
    if (k === now) row.setAttribute("aria-current", "step");
    else row.removeAttribute("aria-current");
  });
  byId("memory").replaceChildren(...memory());
}

function interleaving(one) {
  race = one;
  const head = ["", ...race.threads.map(({ name }) => name), "changes"];
  byId("race").replaceChildren(...about(race));
  byId("table").replaceChildren(el("table", { class: "threads" },
    el("thead", {}, el("tr", {}, head.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, race.steps.map(stepRow))));
  byId("files").replaceChildren(download("interleaving.csv", () => [
    ["step", "thread", "does", "read", "changes"],
    ...race.steps.map((step, i) => [i + 1, step.thread, step.step, step.read, step.words.join("; ")]),
  ]));
  show(0);
}

function keys(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || ["radio", "search"].includes(event.target.type)) return;
  const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: race.steps.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  show(to);
}

if (race) {
  byId("interleaving").hidden = false;
  byId("shown").hidden = data.shown.length === 1;
  byId("shown").append(...data.shown.map((one, i) => el("label", {},
    el("input", {
      type: "radio", name: "race", value: one.name, checked: i === 0, onchange: () => interleaving(one),
    }),
    one.name)));
  const steps = { first: () => 0, back: () => now - 1, next: () => now + 1, last: () => race.steps.length - 1 };
  for (const [id, to] of Object.entries(steps)) byId(id).addEventListener("click", () => show(to()));
  document.addEventListener("keydown", keys);
  interleaving(race);
} else if (data.alone) {
  byId("about").hidden = false;
  byId("about").append(...about(data.alone));
}

// -- the catalogue -------------------------------------------------------------------------------------

byId("races").append(sortable({
  name: "races", caption: "Races", by: { title: "verdict", down: false }, rows: data.races,
  columns: [
    { title: "group", value: (row) => row.group, words: true },
    { title: "race", value: (row) => row.name, words: true, show: (row) => (row.story ? row.name : "") },
    { title: "threads", value: (row) => row.threads, words: true, show: (row) => el("code", {}, row.threads) },
    { title: "states", value: (row) => row.states },
    { title: "longest", file: "longest_in_steps", value: (row) => row.depth, hint: "steps of the longest way" },
    { title: "interleavings", value: (row) => row.interleavings, show: (row) => row.interleavings_words },
    {
      title: "verdict", value: (row) => row.verdict, words: true,
      show: (row) => el("span", { class: row.result === "broken" ? "bad" : "" }, row.verdict),
    },
  ],
}));
