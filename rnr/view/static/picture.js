// The page of one picture: viewer, neighbours, notes, run again.
import { find, findAll, onKeys } from "./dom.js";
import { startAgain } from "./again.js";
import { startMaps } from "./maps.js";
import { startNotes } from "./people.js";
import { Viewer } from "./viewer.js";

const stages = findAll("#stages li").map((each) => ({ role: each.dataset.role, words: each.textContent, address: each.dataset.address }));
const viewer = find("#viewer") ? new Viewer(find("#viewer"), stages) : null;

/** Before and after as the table had them; without a table, as the files come. */
function neighbours() {
  const id = find("#people").dataset.id;
  let order = null;
  try {
    order = JSON.parse(sessionStorage.getItem("order"));
  } catch { /* no storage */ }
  const place = order?.ids.indexOf(id) ?? -1;
  if (place < 0) return;
  find("#back").href += order.back;
  for (const [name, other] of [["#before", order.ids[place - 1]], ["#next", order.ids[place + 1]]]) {
    if (other) find(name).href = `${other}.html`;
    else find(name).removeAttribute("href");
  }
}

/** A tip near the edge moves inside. */
function keepInside(event) {
  const tip = event.target.matches?.(".token[aria-describedby]") ? document.getElementById(event.target.getAttribute("aria-describedby")) : null;
  if (!tip) return;
  tip.style.removeProperty("margin-left");
  const over = tip.getBoundingClientRect().right - document.documentElement.clientWidth + 8;
  if (over > 0) tip.style.marginLeft = `${-over}px`;
}

const follow = (selector) => find(selector).href && location.assign(find(selector).href);
const onStage = () => document.activeElement.matches(".stage, input[type=range]");
neighbours();
startNotes();
startAgain(viewer, stages);
startMaps();
for (const name of ["pointerover", "focusin"]) document.addEventListener(name, keepInside);
document.addEventListener("keydown", (event) => event.key === "Escape" && document.activeElement.matches(".token") && document.activeElement.blur());
onKeys({
  ...(viewer?.keys() ?? {}),
  ArrowLeft: () => (onStage() ? true : void follow("#before")),
  ArrowRight: () => (onStage() ? true : void follow("#next")),
  u: () => void follow("#back"),
  e: () => void find("#again input")?.focus(),
  x: () => void find("#explain")?.click(),
  m: () => void find("#note textarea")?.focus(),
});
