// A story played back: one step is shown at a time, of the kernels that are chosen.

if (data.stories) Object.assign(data, data.stories[0]);
let { steps, kernels } = data;
let storyLines = linesOfSource();
const shown = new Set(kernels.map((kernel) => kernel.name));
const SECONDS = 2, NARROW = "(max-width: 700px)";
let now = 0, timer = null, named = null;

const at = (place) => data.store[place];

// The line of the scenario in which each step is told.
function linesOfSource() {
  return steps.map((_, i) => document.querySelector(`.source li[data-step="${i}"]`));
}

const chosen = () => kernels.filter((kernel) => shown.has(kernel.name));
const schemeNames = [...new Set(data.store.flatMap((one) => Object.keys(one.schemes || {})))];
const schemeWrong = (name, i) => chosen().some((kernel) =>
  kernel.steps[i].folios.some(([record]) => wrongSchemes(at(record)).includes(name)));
const wrongAt = (i) => chosen().some((kernel) => kernel.steps[i].wrong)
  || schemeNames.some((name) => schemeWrong(name, i));
const everWrong = (kernel) => kernel.steps.filter((step) => step.wrong).length;

function show(i, { scroll = true } = {}) {
  now = Math.max(0, Math.min(steps.length - 1, i));
  const list = cards();
  byId("slider").value = now + 1;
  byId("slider").setAttribute("aria-valuetext", `step ${now + 1} of ${steps.length}, ${steps[now].text}`);
  byId("at").textContent = `step ${now + 1} of ${steps.length}`;
  for (const id of ["first", "back"]) byId(id).disabled = now === 0;
  for (const id of ["next", "last"]) byId(id).disabled = now === steps.length - 1;
  byId("now").replaceChildren(...sentence(list));
  byId("folios").replaceChildren(...drawCards(list));
  byId("told").replaceChildren(...told());
  byId("proc").replaceChildren(procTable());
  byId("spaces").replaceChildren(...spaces());
  if (byId("numbers").open) tables();
  showLine(scroll);
  for (const mark of document.querySelectorAll(".strip .here")) mark.setAttribute("x", now);
  clearTimeout(named);
  named = setTimeout(nameStep, 300);
}

// The address names the step, once one stays for a moment: browsers allow only so many changes of it.
function nameStep() {
  try { history.replaceState(null, "", `#step=${now + 1}`); } catch { /* a page without a history */ }
}

function showLine(scroll) {
  for (const line of document.querySelectorAll(".source li[aria-current]")) line.removeAttribute("aria-current");
  const line = storyLines[now], box = byId("source");
  if (!line) return;
  line.setAttribute("aria-current", "step");
  const above = line.offsetTop < box.scrollTop + 30;
  const below = line.offsetTop + line.offsetHeight > box.scrollTop + box.clientHeight - 30;
  if (scroll && (above || below)) box.scrollTop = line.offsetTop - box.clientHeight / 2;
}

// Where a mistake begins or ends, from here in one direction.
function turn(direction) {
  for (let i = now + direction; i > 0 && i < steps.length; i += direction)
    if (wrongAt(i) !== wrongAt(i - 1)) return i;
  return direction > 0 ? steps.length - 1 : 0;
}

// A strip of the story, high where somebody is mistaken.
function strip(name, wrong) {
  const path = wrong.map((bad, i) => (bad ? `M${i} 0h1v10h-1z` : "")).join("");
  return [
    el("span", { class: "name" }, name),
    el("div", { class: "strip", title: path ? "where it is mistaken" : "never mistaken" },
      el("svg", { viewBox: `0 0 ${steps.length} 13`, preserveAspectRatio: "none" },
        el("rect", { class: "base", x: 0, y: 7, width: steps.length, height: 2 }),
        el("path", { class: "bad", d: path || "M0 0" }),
        el("rect", { class: "here", x: now, y: 11, width: 1, height: 2 }))),
  ];
}

// One for each kernel and each scheme; and a mark at each such line.
function timeline() {
  byId("timeline").replaceChildren(
    ...chosen().flatMap((kernel) => strip(kernel.name, kernel.steps.map((step) => Boolean(step.wrong)))),
    ...schemeNames.flatMap((name) => strip(name, steps.map((_, i) => schemeWrong(name, i)))));
  for (const [i, line] of storyLines.entries()) {
    if (!line) continue;
    line.querySelector(".sign").textContent = wrongAt(i) ? "✗" : "";
    line.title = wrongAt(i) ? "somebody is mistaken after this step" : "";
  }
}

function play(on) {
  clearInterval(timer);
  const next = () => { if (now === steps.length - 1) play(false); else show(now + 1); };
  timer = on ? setInterval(next, 1000 * SECONDS) : null;
  byId("play").textContent = on ? "Pause" : "Play";
  byId("play").setAttribute("aria-pressed", String(Boolean(on)));
}

function go(to) {
  play(false);
  show(to);
}

// A narrow screen begins with one kernel: the one without page counts, or else the one that is wrong most.
function chooseOne() {
  const worst = kernels.reduce((a, b) => (everWrong(b) > everWrong(a) ? b : a));
  const coming = kernels.find((kernel) => kernel.name.startsWith("no-page-mapcount")) || worst;
  shown.clear();
  shown.add(everWrong(worst) && !everWrong(coming) ? worst.name : coming.name);
}

function choose(event) {
  if (event.target.checked) shown.add(event.target.value);
  else shown.delete(event.target.value);
  timeline();
  show(now, { scroll: false });
}

// Another story of the same kernels, whose lines are there already.
function tell(story) {
  Object.assign(data, story);
  ({ steps, kernels } = data);
  storyLines = linesOfSource();
  byId("slider").max = steps.length;
  timeline();
  go(0);
}

function keys(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.id === "slider" || event.target.type === "radio") return;
  const to = {
    ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: steps.length - 1, PageUp: turn(-1), PageDown: turn(1),
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  go(to);
}

function start() {
  byId("player").hidden = byId("machine").hidden = false;
  if (matchMedia(NARROW).matches && kernels.length > 1) chooseOne();
  byId("kernels").append(...kernels.map(({ name, since }) => el("label", { title: since },
    el("input", { type: "checkbox", value: name, checked: shown.has(name), onchange: choose }), name)));
  byId("slider").max = steps.length;
  byId("slider").addEventListener("input", (event) => show(Number(event.target.value) - 1));
  byId("first").addEventListener("click", () => go(0));
  byId("back").addEventListener("click", () => go(now - 1));
  byId("next").addEventListener("click", () => go(now + 1));
  byId("last").addEventListener("click", () => go(steps.length - 1));
  byId("play").addEventListener("click", () => { if (now === steps.length - 1) show(0); play(!timer); });
  byId("source").addEventListener("click", (event) => {
    const line = event.target.closest("li[data-step]");
    if (line) go(Number(line.dataset.step));
  });
  byId("numbers").addEventListener("toggle", () => { if (byId("numbers").open) tables(); });
  document.addEventListener("keydown", keys);
  const asked = /^#step=(\d+)$/.exec(location.hash);
  timeline();
  show(asked ? Number(asked[1]) - 1 : 0);
  performance.mark("ready");
}

start();
