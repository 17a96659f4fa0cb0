// A table that shows one page at a time: 10,000 records are 50 rows of the document.
import { find, findAll, make } from "./dom.js";

export const SIZE = 50; // rows of a page; a choice

export class Paged {
  /** `row(record)` makes a <tr>; `moved(page)` hears of every change. */
  constructor(row, moved) {
    Object.assign(this, { row, moved, list: [], page: 1 });
    this.body = find("#rows tbody");
    this.input = find("#page");
    this.input.addEventListener("change", () => this.go(Number(this.input.value)));
    for (const button of findAll("[data-go]")) button.addEventListener("click", () => this.step(button.dataset.go));
  }

  get pages() {
    return Math.max(1, Math.ceil(this.list.length / SIZE));
  }

  show(list, page = 1) {
    this.list = list;
    this.page = Math.min(Math.max(1, Math.floor(page) || 1), this.pages);
    this.body.replaceChildren(...list.slice((this.page - 1) * SIZE, this.page * SIZE).map(this.row));
    this.input.value = this.page;
    this.input.max = this.pages;
    find("#pages").textContent = `of ${this.pages}`;
    for (const button of findAll("[data-go]")) {
      button.disabled = ["first", "back"].includes(button.dataset.go) ? this.page === 1 : this.page === this.pages;
    }
    this.moved(this.page);
  }

  go(page) {
    this.show(this.list, page);
    find("#rows-area, #rows").scrollIntoView({ block: "nearest" });
  }

  step(where) {
    this.go({ first: 1, back: this.page - 1, on: this.page + 1, last: this.pages }[where]);
  }

  /** Move the focus over the rows, onto the next page where this one ends. */
  move(by) {
    const links = findAll("#rows tbody [data-row]");
    const at = links.indexOf(document.activeElement) + (document.activeElement.matches?.("[data-row]") || by < 0 ? by : 1);
    if (at >= links.length && this.page < this.pages) {
      this.step("on");
      find("#rows tbody [data-row]")?.focus();
    } else if (at < 0 && this.page > 1) {
      this.step("back");
      findAll("#rows tbody [data-row]").at(-1)?.focus();
    } else links[Math.min(Math.max(0, at), links.length - 1)]?.focus();
  }

  keys() {
    return {
      j: () => void this.move(1), k: () => void this.move(-1),
      n: () => void this.step("on"), p: () => void this.step("back"),
    };
  }
}

/** Fill a <select> with [value, words] pairs. */
export const options = (select, pairs) => select.append(...pairs.map(([value, words]) => make("option", { value }, words)));
