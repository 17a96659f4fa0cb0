// Before/after sliders: drag anywhere, or focus and use the arrow keys. Without this script both sides stand side by side.
document.documentElement.classList.add("js");
for (const figure of document.querySelectorAll(".compare")) {
  const range = figure.querySelector("input");
  const show = (percent) => {
    figure.style.setProperty("--cut", percent + "%");
    range.setAttribute("aria-valuetext", Math.round(percent) + "% before");
  };
  const drag = (event) => {
    const box = figure.getBoundingClientRect();
    const percent = Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width));
    range.value = percent;
    show(percent);
  };
  figure.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    figure.setPointerCapture(event.pointerId);
    drag(event);
  });
  figure.addEventListener("pointermove", (event) => {
    if (figure.hasPointerCapture(event.pointerId)) drag(event);
  });
  figure.addEventListener("mousedown", (event) => {
    event.preventDefault(); // keeps the browser from taking the focus away again
    range.focus({ preventScroll: true });
  });
  range.addEventListener("input", () => show(range.value));
  show(range.value);
}
// On paper everything is open.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));
