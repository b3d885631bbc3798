// A small world: states by distance from the start, and the stories of what was found.

const layers = data.check.layers.map((states, depth) => ({ depth, states }));
for (const [i, layer] of layers.entries()) layer.within = layer.states + (i ? layers[i - 1].within : 0);
const MOST_WIDE = 8;

const barTitle = (layer) =>
  `${plural(layer.states, "state")} at ${plural(layer.depth, "event")}, `
  + `${layer.within.toLocaleString("en")} so far`;

// A bar for each distance, no wider than there is room to the left of the first.
function layerBars(X, Y, box) {
  const half = Math.min(MOST_WIDE, 0.35 * (X.at(1) - X.at(0)));
  return layers.map((layer) => el("rect", {
    class: "bar-of", x: X.at(layer.depth) - half, y: Math.min(Y.at(layer.states), box.bottom - 1), width: 2 * half,
    height: Math.max(1, box.bottom - Y.at(layer.states)),
  }, el("title", {}, barTitle(layer))));
}

byId("chart").append(chart({
  title: "States by distance from the start", note: "events on the shortest way from a folio that nobody maps",
  words: `States by events from the start. ${layers.map(barTitle).join("; ")}.`, height: 240,
  x: {
    values: layers.map((layer) => layer.depth), zero: true, label: "events",
    format: (v) => (Number.isInteger(v) ? String(v) : ""),
  },
  y: { values: layers.map((layer) => layer.states), zero: true, format: (v) => v.toLocaleString("en") },
  draw: layerBars,
}));

byId("layers").append(sortable({
  name: "states", caption: "States by distance", filtered: false, by: { title: "events", down: false }, rows: layers,
  columns: [
    { title: "events", value: (row) => row.depth },
    { title: "states", value: (row) => row.states },
    { title: "so far", file: "states_so_far", value: (row) => row.within },
  ],
}));

// The player's lines are those of the story that is told.
function lineOf([number, text, step]) {
  return el("li", { "data-step": step },
    el("span", { class: "number" }, String(number)), el("span", { class: "sign" }), el("code", {}, text));
}

function tellStory(story) {
  byId("source").replaceChildren(...story.lines.map(lineOf));
  tell(story);
}

if (data.stories.length > 1) {
  byId("stories").hidden = false;
  byId("stories").append(...data.stories.map((story, i) => el("label", {},
    el("input", {
      type: "radio", name: "story", value: story.finding, checked: i === 0, onchange: () => tellStory(story),
    }),
    story.finding)));
}
