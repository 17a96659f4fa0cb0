// Edit a severity and run again: the server restores by the edited diagnosis, this page waits and shows the result.
import { find, findAll, make } from "./dom.js";
import { finished, send } from "./jobs.js";

export function startAgain(viewer, stages) {
  const form = find("#again[data-id]");
  if (!form) return;
  const status = find("#again-status");
  const inputs = findAll("input[data-was]", form);
  const mark = () => inputs.forEach((input) => input.classList.toggle("edited", input.value !== input.dataset.was));
  form.addEventListener("input", mark);
  form.addEventListener("reset", () => setTimeout(mark));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const changed = inputs.filter((input) => input.value !== input.dataset.was && input.value !== "");
    const button = find("[type=submit]", form);
    button.disabled = true;
    try {
      const severities = Object.fromEntries(changed.map((input) => [input.name, Number(input.value)]));
      const { job } = await send(`../api/again/${form.dataset.id}`, { severities });
      show(await finished(job, status));
    } catch (error) {
      status.textContent = `not run: ${error.message}`;
    }
    button.disabled = false;
  });

  function show({ name, address, words, left }) {
    status.textContent = `run again with ${words}`;
    const role = `again-${name}`;
    if (!stages.some((stage) => stage.role === role)) stages.push({ role, words: `run again: ${words}`, address });
    viewer?.offer(stages, [stages[0].role, role]);
    const rows = findAll("tr[data-kind]", form);
    const kinds = rows.map((each, place) => [find("th", each).firstChild.textContent, left[place]]).filter(([, value]) => value >= 5);
    const remaining = kinds.map(([title, value]) => `${title} ${Math.round(value)}`).join(", ") || "nothing of 5 points or more";
    find("#agains").append(make("p", { className: "again" }, "Run again with ", make("b", {}, words), `: left ${remaining}`));
  }
}
