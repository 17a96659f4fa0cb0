// The records as data/rows.js brings them, and what can be asked of them. Columns: rnr/view/library.py, _rows.
import { root } from "./dom.js";

const { kinds, titles, measures, runs, rows: arrays } = globalThis.RNR;
export { kinds, titles, measures, runs };

const COLUMNS = ["id", "name", "status", "error", "states", "before", "after", "truth", "doubt", "numbers", "shown", "notes", "labels", "sha"];
export const records = arrays.map((array) => {
  const record = Object.fromEntries(COLUMNS.map((name, place) => [name, array[place]]));
  record.run = Number.parseInt(record.id, 10);
  record.text = `${record.name} ${record.error} ${record.labels.join(" ")}`.toLowerCase();
  return record;
});

const known = (value) => value !== null && value !== undefined;
export const words = (value, digits = 0) => (known(value) ? value.toFixed(digits) : "–");
export const fileName = (name) => name.slice(name.lastIndexOf("/") + 1);

const largest = (values) => values.reduce((most, value) => (known(value) && (most === null || value > most) ? value : most), null);
/** |predicted - true| of one kind; null where either is not known. */
const errorOf = (record, kind) =>
  known(record.truth[kind]) && known(record.before[kind]) ? Math.abs(record.before[kind] - record.truth[kind]) : null;

/** A number of a record: of one kind (its place), or the largest of all (kind -1). */
export function value(record, what, kind) {
  if (what === "error") return kind >= 0 ? errorOf(record, kind) : largest(kinds.map((_, each) => errorOf(record, each)));
  const list = { severity: record.before, left: record.after, doubt: record.doubt, true: record.truth }[what];
  if (list) return kind >= 0 ? (list[kind] ?? null) : largest(list);
  return record.numbers[measures.indexOf(what)] ?? null;
}

/** The records that pass the filter, in its order; what is not known comes last in either direction. */
export function select(filter) {
  const kind = kinds.indexOf(filter.kind ?? "");
  const least = ["severity", "doubt", "error"].filter((what) => filter[what] !== undefined && filter[what] !== "");
  const wanted = (filter.q ?? "").toLowerCase();
  const passes = (record) =>
    (!wanted || record.text.includes(wanted)) &&
    (!filter.run || record.run === Number(filter.run)) &&
    (!filter.status || record.status === filter.status) &&
    (!filter.label || record.labels.includes(filter.label)) &&
    (!filter.state || (kind >= 0 ? record.states[kind] === filter.state : record.states.includes(filter.state))) &&
    least.every((what) => (value(record, what, kind) ?? -1) >= Number(filter[what]));
  return sorted(records.filter(passes), filter.sort || "", kind);
}

function sorted(chosen, sort, kind) {
  const [what, sign] = sort.startsWith("-") ? [sort.slice(1), -1] : [sort, 1];
  if (!what) return chosen;
  if (what === "name") return chosen.sort((a, b) => sign * compareNames.compare(a.name, b.name));
  const keyed = chosen.map((record) => [what === "notes" ? record.notes + record.labels.length : value(record, what, kind), record]);
  keyed.sort(([a], [b]) => (a === null ? (b === null ? 0 : 1) : b === null ? -1 : sign * (a - b)));
  return keyed.map(([, record]) => record);
}
const compareNames = new Intl.Collator("en", { numeric: true });

/** Places of the kinds that a row tells of: present, could not say, truly there, or left in the result. */
export const mentioned = (record) =>
  kinds.map((_, kind) => kind).filter((kind) => {
    const state = record.states[kind];
    return state === "p" || state === "u" || record.truth[kind] > 0 || (record.after[kind] ?? 0) >= 20;
  });

const side = (record) => (record.shown[1] && record.status !== "untouched" ? 1 : record.shown[0] ? 0 : -1);
/** Address of the thumbnail: the result where there is one. */
export const thumbnail = (record, which = side(record)) =>
  which < 0 || !record.shown[which] ? "" : `${root}thumb/${record.id}-${["before", "after"][which]}.jpg`;
export const picture = (record, which) =>
  record.shown[which] ? `${root}img/${record.id}-${["before", "after"][which]}.${record.shown[which]}` : "";
export const page = (record) => `${root}p/${record.id}.html`;
