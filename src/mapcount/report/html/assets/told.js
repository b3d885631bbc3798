// What fired in a step: what became of pages, then each mapping event with its row of the rules.

// Kernels of which the same is told share a list.
function told() {
  const groups = new Map();
  for (const kernel of chosen()) {
    const { fates, events = [] } = kernel.steps[now].told;
    const rules = events.map((e) => [e.event, e.case, e.effect, e.last, e.times, e.place]);
    const key = JSON.stringify([fates, rules]);
    groups.set(key, [...(groups.get(key) || []), kernel]);
  }
  return [...groups.values()].flatMap((group) => [
    groups.size > 1 ? el("p", { class: "rules-of" }, group.map((kernel) => kernel.name).join(", ")) : null,
    toldOf(group),
  ]).filter(Boolean);
}

function toldOf(group) {
  const { fates = [], events = [], more } = group[0].steps[now].told;
  const list = el("ol", { class: "rules" }, fates.map(fateItem), events.map((event, i) => eventItem(group, event, i)));
  if (more) list.append(el("li", {}, `and ${plural(more, "event")} more`));
  if (!list.childElementCount) list.append(el("li", {}, nothingFired(group)));
  return list;
}

function fateItem({ fate, why, pages, place }) {
  const what = fate === "skipped" ? `${plural(pages, "page")} of ${place} to be paged out`
    : `Write to ${plural(pages, "read-only page")} of ${place}`;
  return el("li", { class: why.includes("needless") ? "costly" : "" },
    el("span", { class: "what" }, what),
    el("b", { class: "case" }, fate), el("span", { class: "arrow" }, "because"), why);
}

function eventItem(group, event, i) {
  const times = event.times > 1 ? `, ${event.times.toLocaleString("en")} times` : "";
  return el("li", {},
    el("span", { class: "what" }, `${event.event}, ${event.place}${times}`),
    el("b", { class: "case" }, event.case), el("span", { class: "arrow" }, "⇒"), event.effect,
    event.last ? el("span", { class: "minor" }, `the last: ${event.last}`) : null,
    counted(group, i));
}

// Counters and statistics beside total and slots; by kernel where they differ.
function counted(group, i) {
  const words = new Map();
  for (const kernel of group) {
    const event = kernel.steps[now].told.events[i];
    const stats = Object.entries(event.stats || {}).map(([name, kib]) => `${name} ${signed(kib)}`);
    const text = [event.counts, ...stats].filter(Boolean).join("; ");
    words.set(text, [...(words.get(text) || []), kernel.name]);
  }
  const line = ([text, names]) => (words.size > 1 ? `${names.join(", ")}: ${text}` : text);
  return [...words].filter(([text]) => text).map((one) => el("span", { class: "minor" }, line(one)));
}

function nothingFired(group) {
  const failed = group.flatMap((kernel) => kernel.steps[now].failures.map((failure) =>
    `${kernel.name}: expected ${failure.demand}, found ${failure.found}`));
  if (failed.length) return failed.join("; ");
  if (!/\bexpect\b/.test(steps[now].text)) return "No mapping came or went.";
  const here = group[0].steps[now].checked;
  return `Nothing happens: what is expected here ${here ? "holds" : "is for other kernels"}.`;
}

const listed = (words) =>
  (words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}` : words.join(""));

// The step's line, what failed, and which kernels are mistaken: what a screen reader says.
function sentence(list) {
  const step = steps[now], wrong = [];
  for (const { folio, where, on } of list) {
    const kernelNames = on.filter((one) => one.folio.wrong).map((one) => one.kernel.name);
    const names = [...kernelNames, ...new Set(on.flatMap((one) => wrongSchemes(one.folio)))];
    if (!names.length) continue;
    const said = folio.truth === "shared" ? "exclusive" : "shared";
    const owner = folio.owners.length === 1 ? ` to ${folio.owners[0][0]}` : "";
    const verb = names.length > 1 ? "say" : "says";
    wrong.push(`${listed(names)} ${verb} ${where.shown[0]} is ${said}: wrong, it is ${folio.truth}${owner}.`);
  }
  const failed = chosen().flatMap((kernel) => kernel.steps[now].failures.map((failure) =>
    `Not as expected on ${kernel.name}: ${failure.demand}, found ${failure.found}. `));
  const all = schemeNames.length ? "Every kernel and scheme" : "Every kernel shown";
  const right = list.length ? `${all} is right about every folio.` : "No folio is in memory.";
  const comment = step.comment ? ` (${step.comment.trim()})` : "";
  return [el("code", {}, step.text), comment, el("br"), ...failed, wrong.join(" ") || right];
}
