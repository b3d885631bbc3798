"use strict";
// What every page has: its data, the switch between light and dark, elements, sizes, CSV.
// Text becomes text nodes and nothing else: no script here makes elements of strings.

const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "circle", "rect", "line", "text", "title"]);

// An element. Attributes `on...` are listeners, `style` is an object; children may be nested lists, null is none.
function el(tag, attributes = {}, ...children) {
  const node = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, v] of Object.entries(value)) node.style.setProperty(key, v);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const byId = (id) => document.getElementById(id);
const plural = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

// KiB in the largest unit that loses nothing to the second decimal, as the text report prints them.
function size(kib) {
  for (const [unit, factor] of [["G", 1048576], ["M", 1024]])
    if (Math.abs(kib) >= factor && (kib * 4) % factor === 0) return `${kib / factor}${unit}`;
  return kib ? `${kib}K` : "0";
}
const signed = (kib) => (kib > 0 ? "+" : kib < 0 ? "−" : "") + size(Math.abs(kib));

// Rows as CSV. Text that a spreadsheet would compute is made plain text.
function csv(rows) {
  const cell = (value) => {
    let text = value === null || value === undefined ? "" : String(value);
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `${rows.map((row) => row.map(cell).join(",")).join("\n")}\n`;
}

// A link that makes its file only when it is asked for.
function download(name, rows) {
  const link = el("a", { class: "button", download: name, href: "data:text/csv," }, name);
  const fill = () => { link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(csv(rows()))}`; };
  for (const event of ["pointerdown", "focus", "click"]) link.addEventListener(event, fill);
  return link;
}

(function theme() {
  const button = byId("theme"), root = document.documentElement, wanted = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : wanted.matches);
  const label = () => {
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${dark() ? "light" : "dark"} colours`);
  };
  try {
    const kept = localStorage.getItem("mapcount-theme");
    if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  } catch { /* a page without storage */ }
  button.hidden = false;
  label();
  wanted.addEventListener("change", label);
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("mapcount-theme", root.dataset.theme); } catch { /* not kept, then */ }
    label();
  });
})();
