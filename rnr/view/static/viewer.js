// Two pictures with one zoom: under a slider, or side by side. Both panes always show the same part.
import { find, findAll, make } from "./dom.js";

const MOST = 32; // times; a choice

export class Viewer {
  /** `stages`: [{role, words, address}]; the first is shown left, the second right. */
  constructor(element, stages) {
    Object.assign(this, { element, stages, zoom: 1, x: 0, y: 0, beside: false, pointers: new Map() });
    this.stage = find(".stage", element);
    this.panes = findAll(".pane", element);
    this.images = findAll(".pane img", element);
    this.selects = findAll("select[data-side]", element);
    this.range = find(".cut input", element);
    this.listen();
    this.offer(stages);
  }

  /** New pictures; what was chosen stays where it is still there. */
  offer(stages, chosen = []) {
    this.stages = stages;
    this.selects.forEach((select, side) => {
      const before = chosen[side] ?? select.value;
      select.replaceChildren(...stages.map(({ role, words }) => make("option", { value: role }, words)));
      const fallback = stages[Math.min(side, stages.length - 1)]?.role ?? "";
      select.value = stages.some(({ role }) => role === before) ? before : fallback;
    });
    this.element.classList.toggle("single", stages.length < 2);
    this.load();
  }

  load() {
    this.selects.forEach((select, side) => {
      const stage = this.stages.find(({ role }) => role === select.value);
      if (!stage || this.images[side].getAttribute("src") === stage.address) return;
      this.images[side].src = stage.address;
      this.images[side].alt = stage.words;
      find(".tag", this.panes[side]).textContent = stage.words;
    });
  }

  listen() {
    const actions = {
      in: () => this.zoomBy(1.5), out: () => this.zoomBy(1 / 1.5), fit: () => this.fit(),
      flip: () => this.flip(), mode: () => this.toggle(),
    };
    for (const button of findAll("[data-do]", this.element)) button.addEventListener("click", actions[button.dataset.do]);
    for (const select of this.selects) select.addEventListener("change", () => this.load());
    for (const image of this.images) {
      image.addEventListener("load", () => this.layout());
      image.addEventListener("error", () => this.complain(image));
    }
    this.range.addEventListener("input", () => this.draw());
    this.stage.addEventListener("dblclick", (event) => (this.zoom > 1 ? this.fit() : this.zoomBy(4, this.place(event))));
    this.stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.stage.addEventListener("pointerdown", (event) => this.press(event));
    this.stage.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel"]) this.stage.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    this.stage.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.stage);
  }

  async complain(image) {
    const answer = location.protocol === "file:" ? null : await fetch(image.src);
    find(".missing", this.element).textContent = answer ? await answer.text() : `${image.alt}: the picture is not in this folder`;
  }

  layout() {
    const { naturalWidth: width, naturalHeight: height } = this.images[0].naturalWidth ? this.images[0] : this.images[1];
    if (!width) return;
    find(".missing", this.element).textContent = "";
    this.stage.style.setProperty("--ratio", width / height);
    this.stage.style.setProperty("--shown", `${width * Math.max(1, Math.floor(480 / Math.max(width, height)))}px`);
    this.draw();
  }

  toggle() {
    this.beside = !this.beside;
    find("[data-do=mode]", this.element).setAttribute("aria-pressed", String(this.beside));
    this.element.classList.toggle("beside", this.beside);
    this.draw();
  }

  flip() {
    const [left, right] = this.selects;
    [left.value, right.value] = [right.value, left.value];
    this.load();
  }

  fit() {
    Object.assign(this, { zoom: 1, x: 0, y: 0 });
    this.draw();
  }

  /** Where an event is in its pane, in pixels of the pane. */
  place(event) {
    const box = (this.beside ? event.target.closest(".pane") ?? this.panes[0] : this.stage).getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  zoomBy(factor, at = [this.panes[0].clientWidth / 2, this.panes[0].clientHeight / 2]) {
    const zoom = Math.min(MOST, Math.max(1, this.zoom * factor));
    const ratio = zoom / this.zoom;
    this.x = at[0] - (at[0] - this.x) * ratio;
    this.y = at[1] - (at[1] - this.y) * ratio;
    this.zoom = zoom;
    this.draw();
  }

  wheel(event) {
    if (!event.ctrlKey && !event.metaKey && document.activeElement !== this.stage) return; // the page scrolls
    event.preventDefault();
    this.zoomBy(Math.exp(-event.deltaY / 300), this.place(event));
  }

  press(event) {
    if (event.button !== 0) return;
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    this.stage.setPointerCapture(event.pointerId);
    const box = this.stage.getBoundingClientRect();
    const handle = box.left + (box.width * this.range.value) / 100;
    this.cutting = !this.beside && (this.zoom === 1 || Math.abs(event.clientX - handle) < 24);
    if (this.cutting) this.cut(event);
  }

  drag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    if (other) this.zoomBy(Math.hypot(now[0] - other[0], now[1] - other[1]) / Math.max(1, Math.hypot(before[0] - other[0], before[1] - other[1])), this.place(event));
    else if (this.cutting) this.cut(event);
    else this.pan(now[0] - before[0], now[1] - before[1]);
  }

  cut(event) {
    const box = this.stage.getBoundingClientRect();
    this.range.value = (100 * (event.clientX - box.left)) / box.width;
    this.draw();
  }

  pan(x, y) {
    this.x += x;
    this.y += y;
    this.draw();
  }

  key(event) {
    const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    if (!(event.key in moves) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    if (this.zoom > 1) this.pan(...moves[event.key]);
    else if (moves[event.key][0]) {
      this.range.value = Number(this.range.value) - moves[event.key][0] / 12;
      this.draw();
    }
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.panes[0];
    this.x = Math.min(0, Math.max(width * (1 - this.zoom), this.x));
    this.y = Math.min(0, Math.max(height * (1 - this.zoom), this.y));
    const natural = this.images[0].naturalWidth || 1;
    for (const image of this.images) image.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.zoom})`;
    this.stage.style.setProperty("--cut", `${this.range.value}%`);
    this.element.classList.toggle("pixels", (this.zoom * width) / natural > 2);
    this.element.classList.toggle("zoomed", this.zoom > 1);
    this.range.setAttribute("aria-valuetext", `${Math.round(this.range.value)} % left picture`);
    find("[data-zoom]", this.element).textContent = this.zoom === 1 ? "fit" : `${Math.round((100 * this.zoom * width) / natural)} %`;
  }

  keys() {
    return { "+": () => void this.zoomBy(1.5), "=": () => void this.zoomBy(1.5), "-": () => void this.zoomBy(1 / 1.5), 0: () => void this.fit(), b: () => void this.flip(), s: () => void this.toggle() };
  }
}
