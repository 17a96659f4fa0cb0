// Attribution maps over the picture: how strong they are, and the server's work where a person asks for them.
import { find } from "./dom.js";
import { finished, send } from "./jobs.js";

export function startMaps() {
  const section = find("#maps");
  if (!section) return;
  const strength = find("#strength");
  const apply = () => section.style.setProperty("--strength", strength.value / 100);
  strength?.addEventListener("input", apply);
  const button = find("#explain");
  button?.addEventListener("click", async () => {
    const status = find("#explain-status");
    button.disabled = true;
    try {
      const { job } = await send(`../api/explain/${button.dataset.id}`, {});
      await finished(job, status);
      await renew(section);
      startMaps();
    } catch (error) {
      status.textContent = `not explained: ${error.message}`;
      button.disabled = false;
    }
  });
}

/** The section as the server renders it now; notes that are being written elsewhere on the page stay. */
async function renew(section) {
  const page = await (await fetch(location.href)).text();
  const fresh = find("#maps", new DOMParser().parseFromString(page, "text/html"));
  for (const image of fresh.querySelectorAll("img.map")) image.src += `?${Date.now()}`; // an earlier map has the same name
  section.replaceChildren(...fresh.childNodes);
  find("#explain-status").textContent = "explained";
}
