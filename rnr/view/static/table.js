// The table of all records: filter, sort, search, pages; its state is the address.
import { find, make, onKeys, readHash, root, writeHash } from "./dom.js";
import { Paged, options } from "./pages.js";
import { fileName, kinds, measures, page, records, runs, select, thumbnail, titles, mentioned, value, words } from "./rows.js";
import { draw } from "./scatter.js";

const controls = find("#controls");
const fields = ["q", "run", "kind", "state", "status", "label", "sort", "severity", "doubt", "error"];
const state = () => Object.fromEntries(fields.map((name) => [name, controls.elements[name]?.value ?? ""]));
const withTruth = records.some((record) => record.truth.length);
const heads = [
  ["name", "Picture"], ["", "Found, and what is left"], ["severity", "Severity"], ["doubt", "Doubt"],
  ...(withTruth ? [["error", "Error"]] : []), ...measures.map((name) => [name, name]), ["notes", "Notes"],
];

function fillControls() {
  const distinct = (values) => [...new Set(values)].sort();
  options(controls.elements.kind, kinds.map((name, place) => [name, titles[place]]));
  options(controls.elements.status, distinct(records.map((record) => record.status)).map((status) => [status, status === "untouched" ? "left as it is" : status]));
  options(controls.elements.label, distinct(records.flatMap((record) => record.labels)).map((label) => [label, label]));
  const sorts = [["", "order of the files"], ["name", "name"], ["-severity", "severity"], ["-doubt", "doubt"], ...(withTruth ? [["-error", "error"], ["-true", "true severity"]] : []), ["-left", "severity left"]];
  options(controls.elements.sort, [...sorts, ...measures.flatMap((name) => [[`-${name}`, `${name}, high first`], [name, `${name}, low first`]]), ["-notes", "notes"],
    ["severity", "severity, low first"], ["doubt", "doubt, low first"], ["-name", "name, backwards"]]);
}

function fillHeads() {
  find("#heads").append(...heads.map(([what, text]) => {
    if (!what) return make("th", { scope: "col" }, text);
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", () => sortBy(what));
    const numeric = !["name", "notes"].includes(what);
    return make("th", { scope: "col", className: numeric ? "num" : "", "data-sort": what }, button);
  }));
}

function sortBy(what) {
  const now = controls.elements.sort.value;
  const next = now === `-${what}` ? what : now === what ? `-${what}` : what === "name" ? what : `-${what}`;
  if (![...controls.elements.sort.options].some((option) => option.value === next)) options(controls.elements.sort, [[next, `${what}, low first`]]);
  controls.elements.sort.value = next;
  refresh();
}

const chosenKind = () => kinds.indexOf(controls.elements.kind.value);

function row(record) {
  const kind = chosenKind();
  const source = thumbnail(record);
  const slash = record.name.length - fileName(record.name).length;
  const link = make("a", { href: page(record) + location.hash, "data-row": record.id },
    make("span", { className: "thumb" }, source ? make("img", { src: source, alt: "", loading: "lazy", decoding: "async" }) : make("span", { className: "none" }, "no picture")),
    make("span", { className: "name" }, slash ? make("span", { className: "muted" }, record.name.slice(0, slash)) : null, record.name.slice(slash)));
  const cells = heads.slice(2, -1).map(([what, text]) => make("td", { className: "num", "data-name": text }, words(value(record, what, kind), measures.includes(what) ? 2 : 0)));
  const people = [record.notes ? `${record.notes} note${record.notes > 1 ? "s" : ""}` : null, ...record.labels.map((label) => make("span", { className: "pill" }, label))].filter(Boolean);
  return make("tr", { className: record.status }, make("th", { scope: "row" }, link), make("td", { className: "found" }, ...found(record)),
    ...cells, make("td", { className: "people" }, ...people.flatMap((part) => [part, " "])));
}

function found(record) {
  const where = runs.length > 1 ? [make("span", { className: "run muted" }, runs[record.run].name)] : [];
  if (record.status === "failed") return [...where, make("span", { className: "bad" }, record.error)];
  const chips = mentioned(record).map((kind) => {
    const unknown = { u: "could not say", n: "not asked" }[record.states[kind]];
    const left = record.after.length ? ` → ${words(record.after[kind])}` : "";
    const truth = record.truth.length ? make("small", {}, ` true ${words(record.truth[kind])}`) : null;
    return make("span", { className: `chip ${record.states[kind]}` }, `${titles[kind]} `, make("b", {}, `${unknown ?? words(record.before[kind])}${left}`), truth);
  });
  if (record.status === "evaluated") return where;
  return [...where, ...(chips.length ? chips : [make("span", { className: "muted" }, "nothing found")])];
}

const paged = new Paged(row, (number) => {
  writeHash({ ...state(), page: number > 1 ? number : "" });
  find("#status").textContent = `${paged.list.length.toLocaleString("en")} of ${records.length.toLocaleString("en")} records`;
  try {
    sessionStorage.setItem("order", JSON.stringify({ ids: paged.list.map((record) => record.id), back: location.hash }));
  } catch { /* no storage: the pages go by the order of the files */ }
});

function refresh(number = 1) {
  const now = state();
  writeHash({ ...now, page: number > 1 ? number : "" });
  const list = select(now);
  const sort = now.sort.replace(/^-/, "");
  for (const head of document.querySelectorAll("#heads [data-sort]")) {
    if (head.dataset.sort !== sort) head.removeAttribute("aria-sort");
    else head.setAttribute("aria-sort", now.sort.startsWith("-") ? "descending" : "ascending");
  }
  paged.show(list, number);
  if (find("#truth").open) draw(list, chosenKind());
}

function fromAddress() {
  const hash = readHash();
  for (const name of fields) if (controls.elements[name]) controls.elements[name].value = hash[name] ?? "";
  refresh(Number(hash.page) || 1);
}

find("#more").open = innerWidth > 700 || fields.slice(1).some((name) => name !== "sort" && readHash()[name]);
fillControls();
fillHeads();
find("#truth").hidden = !withTruth;
find("#truth").addEventListener("toggle", () => draw(paged.list, chosenKind()));
controls.addEventListener("input", () => refresh());
controls.addEventListener("submit", (event) => event.preventDefault());
controls.addEventListener("reset", () => setTimeout(refresh));
addEventListener("hashchange", fromAddress);
fromAddress();
onKeys({ ...paged.keys(), "/": () => void controls.elements.q.focus(), c: () => void (runs.length > 1 && location.assign(`${root}compare.html`)) });
