// Notes and labels: each is one line that is appended to the run's file; the page shows what the file holds.
import { find, make } from "./dom.js";
import { send } from "./jobs.js";

const SUGGESTED = ["diagnosis right", "diagnosis wrong", "missed damage", "result better", "result worse", "look again"];

export function startNotes() {
  const form = find("#note");
  if (!form) return;
  const address = `../api/notes/${find("#people").dataset.id}`;
  const { text, author, label } = form.elements;
  const status = find("#note-status");
  try {
    author.value = localStorage.getItem("author") ?? "";
  } catch { /* no storage */ }

  async function add(part) {
    status.textContent = "saving …";
    try {
      show(await send(address, { author: author.value, ...part }));
      status.textContent = "saved";
      try {
        localStorage.setItem("author", author.value);
      } catch { /* no storage */ }
      return true;
    } catch (error) {
      status.textContent = `not saved: ${error.message}`;
      return false;
    }
  }

  function show({ notes, labels }) {
    const names = [...new Set([...SUGGESTED, ...labels])];
    find("#labels").replaceChildren(...names.map((name) => {
      const on = labels.includes(name);
      const button = make("button", { type: "button", className: "label", "aria-pressed": String(on) }, name);
      button.addEventListener("click", () => add({ label: name, on: !on }).then(() => focusLabel(name)));
      return button;
    }));
    find("#notes").replaceChildren(...notes.map((note) => {
      const remove = make("button", { type: "button", className: "small" }, "Withdraw");
      remove.addEventListener("click", () => add({ withdraws: note.id }).then(() => text.focus()));
      return make("li", { "data-note": note.id }, make("p", {}, note.text), make("p", { className: "muted" }, `${note.author || "somebody"}, ${note.time} `, remove));
    }), ...(notes.length ? [] : [make("li", { className: "none muted" }, "No notes yet.")]));
  }

  const focusLabel = (name) => [...find("#labels").children].find((button) => button.textContent === name)?.focus();

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (text.value.trim() && (await add({ text: text.value }))) text.value = "";
    if (label.value.trim() && (await add({ label: label.value, on: true }))) label.value = "";
  });
  const reload = () => fetch(address).then((answer) => answer.json()).then(show, () => {});
  document.addEventListener("visibilitychange", () => document.hidden || reload()); // another tab may have written
  addEventListener("focus", reload);
  reload();
}
