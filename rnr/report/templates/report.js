// Pictures: drag across one to compare before and after, click to enlarge it there, click again to see it whole. With the
// keyboard: arrows move the edge, Enter enlarges. Without this script both sides stand side by side.
document.documentElement.classList.add("js");
const STILL = 5; // px up to which a press is a click, not a drag; a choice
const NEAR = 24; // px around the edge in which a drag of an enlarged picture moves the edge, not the picture; a choice

const limited = (value) => Math.min(100, Math.max(0, value));

// The point of the picture under the pointer, in percent of the figure.
function place(figure, event) {
  const box = figure.getBoundingClientRect();
  return { x: limited((100 * (event.clientX - box.left)) / box.width), y: limited((100 * (event.clientY - box.top)) / box.height) };
}

function look(figure, x, y) {
  figure.style.setProperty("--x", limited(x) + "%");
  figure.style.setProperty("--y", limited(y) + "%");
}

// At least three times; of a picture that is shown reduced, so far that each of its pixels is seen.
function zoom(figure, x, y) {
  const image = figure.querySelector("img");
  figure.style.setProperty("--zoom", Math.max(3, (1.5 * image.naturalWidth) / image.clientWidth));
  look(figure, x, y);
  figure.classList.toggle("zoomed");
}

function cut(figure, percent) {
  const range = figure.querySelector("input");
  figure.style.setProperty("--cut", percent + "%");
  range.value = percent;
  range.setAttribute("aria-valuetext", Math.round(percent) + "% before");
}

// What a drag does that began at `start`: moves an enlarged picture, or the edge between before and after.
function moved(figure, start, now) {
  const box = figure.getBoundingClientRect();
  const edge = start.range && Math.abs(start.x - start.cut) * box.width < 100 * NEAR;
  if (start.zoomed && !edge) {
    const step = 1 / (start.zoom - 1); // the origin moves less than the picture
    look(figure, start.left - (now.x - start.x) * step, start.top - (now.y - start.y) * step);
  } else if (start.range) {
    cut(figure, now.x);
  }
}

function began(figure, event) {
  const style = (name) => parseFloat(figure.style.getPropertyValue(name));
  const range = figure.querySelector("input");
  const zoomed = figure.classList.contains("zoomed");
  return { ...place(figure, event), range, zoomed, cut: style("--cut"), zoom: style("--zoom"), left: style("--x"), top: style("--y"), client: event };
}

for (const figure of document.querySelectorAll(".compare, .single")) {
  const range = figure.querySelector("input");
  let start = null;
  let dragged = false;
  figure.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    figure.setPointerCapture(event.pointerId);
    [start, dragged] = [began(figure, event), false];
  });
  figure.addEventListener("pointermove", (event) => {
    if (!start) return;
    const way = Math.hypot(event.clientX - start.client.clientX, event.clientY - start.client.clientY);
    dragged ||= way > STILL;
    if (dragged) moved(figure, start, place(figure, event));
  });
  figure.addEventListener("pointerup", (event) => {
    const point = place(figure, event);
    if (start && !dragged) zoom(figure, point.x, point.y);
    start = null;
  });
  figure.addEventListener("pointercancel", () => (start = null));
  if (!range) continue;
  figure.addEventListener("mousedown", (event) => {
    event.preventDefault(); // keeps the browser from taking the focus away again
    range.focus({ preventScroll: true });
  });
  range.addEventListener("input", () => cut(figure, range.value));
  range.addEventListener("keydown", (event) => {
    if (event.key === "Enter") zoom(figure, 50, 50);
  });
  cut(figure, range.value);
}
// On paper everything is open.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));
