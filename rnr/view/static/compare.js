// Two runs side by side: which pictures changed most, by how much, and why (the settings that differ).
import { find, findAll, make, onKeys, readHash, writeHash } from "./dom.js";
import { Paged, options } from "./pages.js";
import { fileName, kinds, page, picture, records, runs, thumbnail, titles, mentioned, words } from "./rows.js";
import { Viewer } from "./viewer.js";

const LEAST = 5; // points from which something counts as changed; a choice
const controls = find("#controls");
const chosen = () => ({ a: Number(controls.elements.a.value), b: Number(controls.elements.b.value), kind: kinds.indexOf(controls.elements.kind.value), show: controls.elements.show.value, what: controls.elements.what.value });
let viewer = null;
let shown = "";

/** Pairs of records of the same picture: by content, else by name. */
function pairs(a, b) {
  const [left, right] = [a, b].map((run) => records.filter((record) => record.run === run));
  const bySha = new Map(right.filter((record) => record.sha).map((record) => [record.sha, record]));
  const byName = new Map(right.map((record) => [fileName(record.name), record]));
  return left.map((record) => [record, bySha.get(record.sha) ?? byName.get(fileName(record.name))])
    .filter(([one, other]) => other && !(one.sha && other.sha && one.sha !== other.sha));
}

/** What is compared of a record: by kind, null where it is not known. A picture left as it is keeps its severity. */
function values(record, what) {
  if (what === "before") return record.before;
  if (what === "error") return kinds.map((_, kind) => (record.truth[kind] ?? null) === null || (record.before[kind] ?? null) === null ? null : Math.abs(record.before[kind] - record.truth[kind]));
  return record.after.length ? record.after : record.before;
}

function changes(pair, { what, kind }) {
  const [one, other] = pair.map((record) => values(record, what));
  return kinds.map((_, place) => {
    const known = (one[place] ?? null) !== null && (other[place] ?? null) !== null && (kind < 0 || kind === place);
    return known ? other[place] - one[place] : null;
  });
}

const biggest = (list) => list.reduce((most, change) => (change !== null && Math.abs(change) > Math.abs(most) ? change : most), 0);
const total = (list) => list.reduce((sum, change) => sum + (change ?? 0), 0);

function row([one, other, list]) {
  const source = (record) => (thumbnail(record) ? make("img", { src: thumbnail(record), alt: "", loading: "lazy", decoding: "async" }) : make("span", { className: "none" }, "no picture"));
  const button = make("button", { type: "button", className: "pair", "data-row": one.id },
    make("span", { className: "thumb" }, source(one)), make("span", { className: "thumb" }, source(other)), make("span", { className: "name" }, fileName(one.name)));
  button.addEventListener("click", () => open(one, other));
  const kindsOf = [...new Set([...mentioned(one), ...mentioned(other), ...list.flatMap((change, place) => (Math.abs(change ?? 0) >= LEAST ? [place] : []))])].sort((a, b) => a - b);
  const [a, b] = [one, other].map((record) => values(record, chosen().what));
  const chips = kindsOf.map((place) => make("span", { className: `chip ${tone(list[place])}` }, `${titles[place]} `, make("b", {}, `${words(a[place])} | ${words(b[place])}`)));
  return make("tr", { className: one.id === shown ? "current" : "" }, make("th", { scope: "row" }, button), make("td", { className: "found" }, ...chips),
    make("td", { className: "num", "data-name": "Largest change" }, signed(biggest(list))), make("td", { className: "num", "data-name": "All kinds" }, signed(total(list))));
}

const tone = (change) => ((change ?? 0) <= -LEAST ? "better" : (change ?? 0) >= LEAST ? "worse" : "");
const signed = (change) => (Math.round(change) > 0 ? "+" : "") + (Math.round(change) || 0);

const paged = new Paged(row, (number) => {
  writeHash({ ...Object.fromEntries(["a", "b", "kind", "show", "what"].map((name) => [name, controls.elements[name].value])), page: number > 1 ? number : "", picture: shown });
});

function refresh(number = 1) {
  const now = chosen();
  const all = pairs(now.a, now.b).map(([one, other]) => [one, other, changes([one, other], now)]);
  const keep = { changed: (list) => Math.abs(biggest(list)) >= LEAST, better: (list) => total(list) <= -LEAST, worse: (list) => total(list) >= LEAST }[now.show];
  const list = all.filter(([, , each]) => !keep || keep(each)).sort((a, b) => Math.abs(biggest(b[2])) - Math.abs(biggest(a[2])));
  summary(all, now);
  find("#status").textContent = `${list.length.toLocaleString("en")} of ${all.length.toLocaleString("en")} pictures that both runs hold`;
  paged.show(list, number);
}

function summary(all, { a, b, what }) {
  const better = all.filter(([, , list]) => total(list) <= -LEAST).length;
  const worse = all.filter(([, , list]) => total(list) >= LEAST).length;
  const settings = [...new Set([...Object.keys(runs[a].settings), ...Object.keys(runs[b].settings)])];
  const value = (run, name) => (runs[run].settings[name] ?? ["not said"]).join(" or ");
  const differing = settings.filter((name) => value(a, name) !== value(b, name));
  const rows = differing.map((name) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value(a, name)), make("td", {}, value(b, name))));
  const subject = { after: "severity left", before: "predicted severity", error: "error" }[what];
  const head = make("tr", {}, make("th", { scope: "col" }, "Setting"), make("th", { scope: "col" }, runs[a].name), make("th", { scope: "col" }, runs[b].name));
  find("#summary").replaceChildren(
    make("p", { className: "figures-line" }, make("b", {}, String(all.length)), " pictures in both; of ", subject, ", B has less in ", make("b", {}, String(better)), ", more in ", make("b", {}, String(worse)), `, and within ${LEAST} points in ${all.length - better - worse} (sum of all kinds)`),
    differing.length ? make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Settings that differ" }, make("table", { className: "plain" }, make("thead", {}, head), make("tbody", {}, ...rows))) : make("p", { className: "muted" }, "The records name the same settings for both."));
}

function open(one, other, focus = true) {
  shown = one.id;
  find("#pair").hidden = false;
  find("#pair-title").textContent = one.name;
  const which = (record) => (record.shown[1] && record.status !== "untouched" ? 1 : 0);
  const stages = [
    { role: "a", words: `A: ${runs[one.run].name}`, address: picture(one, which(one)) }, { role: "b", words: `B: ${runs[other.run].name}`, address: picture(other, which(other)) },
    { role: "before", words: "before", address: picture(one, 0) || picture(other, 0) },
  ].filter(({ address }) => address);
  if (viewer) viewer.offer(stages, ["a", "b"]);
  else viewer = new Viewer(find("#viewer"), stages);
  if (!viewer.beside) viewer.toggle();
  const cell = (text) => make("td", { className: "num" }, text);
  const heads = ["Kind", "Before, A", "Before, B", "Left, A", "Left, B", "True"];
  find("#pair-table thead").replaceChildren(make("tr", {}, ...heads.map((text) => make("th", { scope: "col", className: text === "Kind" ? "" : "num" }, text))));
  find("#pair-table tbody").replaceChildren(...kinds.map((_, kind) => make("tr", {}, make("th", { scope: "row" }, titles[kind]),
    ...[one.before, other.before, one.after, other.after, one.truth].map((list) => cell(words(list[kind]))))));
  find("#pair-links").replaceChildren(make("a", { href: page(one) }, "page of A"), " · ", make("a", { href: page(other) }, "page of B"));
  for (const each of findAll("#rows tr")) each.classList.toggle("current", find("[data-row]", each)?.dataset.row === shown);
  writeHash({ ...readHash(), picture: shown });
  if (focus) find("#pair").scrollIntoView({ block: "start" });
}

function fromAddress() {
  const hash = readHash();
  for (const name of ["a", "b", "kind", "show", "what"]) if (hash[name] !== undefined) controls.elements[name].value = hash[name];
  shown = hash.picture ?? "";
  refresh(Number(hash.page) || 1);
  const pair = pairs(chosen().a, chosen().b).find(([one]) => one.id === shown);
  if (pair) open(...pair, false);
}

const names = runs.map((run, number) => [String(number), run.name]);
for (const select of [controls.elements.a, controls.elements.b]) options(select, names);
controls.elements.b.value = String(Math.min(1, runs.length - 1));
options(controls.elements.kind, kinds.map((name, place) => [name, titles[place]]));
find("#heads").append(...["Picture, A and B", "A | B", "Largest change", "All kinds"].map((text, place) => make("th", { scope: "col", className: place > 1 ? "num" : "" }, text)));
controls.addEventListener("input", () => refresh());
controls.addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", fromAddress);
fromAddress();
onKeys({ ...paged.keys(), "+": () => void viewer?.zoomBy(1.5), "=": () => void viewer?.zoomBy(1.5), "-": () => void viewer?.zoomBy(1 / 1.5), 0: () => void viewer?.fit() });
