// Small helpers that every page uses, and the keys that every page has.

export const find = (selector, within = document) => within.querySelector(selector);
export const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];
export const root = document.body.dataset.root;

/** An element with properties and children; strings become text, never markup. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The part of the address after #, as an object: a page's state is its deep link. */
export const readHash = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

export function writeHash(state) {
  const set = Object.entries(state).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const hash = "#" + new URLSearchParams(set);
  if (hash !== location.hash) history.replaceState(history.state, "", hash);
}

const typing = (target) => target.matches?.("textarea, select, input:not([type=range])");

/** Call `actions[key]` unless a person types. */
export function onKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.key === "Escape" && typing(event.target)) event.target.blur();
    if (typing(event.target) || find("dialog[open]")) return;
    if (actions[event.key]?.(event) !== undefined) return; // the action left it to the browser
    if (actions[event.key]) event.preventDefault();
  });
}

const help = find("#help");
find("#help-open").addEventListener("click", () => help.showModal());
onKeys({ "?": () => void help.showModal() });
