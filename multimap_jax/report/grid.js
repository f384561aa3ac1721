// Sections of images. Only cells near the window exist as elements.
const GAP = 6; // pixels between cells
const SMALLEST = 96; // pixels, the least side of a cell
const AT_ONCE = 24; // cells that are added in one frame, so that none takes long

class Grid {
  // sections: {key, heading: element, label, images: [index]}
  constructor(host, sections) {
    this.host = host;
    this.sections = sections.map((section) => this.section(section));
    host.replaceChildren(...this.sections.map((section) => section.element));
    this.measure();
  }

  section({ key, heading, label, images }) {
    const box = make("div", { class: "images" });
    const element = make("section", { class: "group", "data-group": key, "aria-label": label }, heading, box);
    const section = { element, box, label, images, cells: new Map(), at: 0 };
    const on = (name, listener) =>
      box.addEventListener(name, (event) => {
        const cell = event.target.closest(".image");
        if (cell) listener(event, Number(cell.dataset.at), Number(cell.dataset.image));
      });
    on("click", (event, at) => this.click(section, at, event));
    on("focusin", (_, at, image) => {
      section.at = at;
      this.stop(section, at);
      showDetails(image);
    });
    on("pointerover", (event, _, image) => event.pointerType === "mouse" && showDetails(image));
    box.addEventListener("keydown", (event) => this.key(section, event));
    box.addEventListener("pointerleave", () => showDetails(null));
    return section;
  }

  measure() {
    const width = this.host.clientWidth;
    this.columns = Math.max(1, Math.floor((width + GAP) / (SMALLEST + GAP)));
    this.cell = (width - GAP * (this.columns - 1)) / this.columns;
    this.step = this.cell + GAP;
    for (const section of this.sections) {
      const rows = Math.ceil(section.images.length / this.columns);
      section.box.style.height = `${Math.max(0, rows * this.step - GAP)}px`;
      for (const cell of section.cells.values()) cell.remove();
      section.cells.clear();
    }
    this.draw();
  }

  // Adds the cells within the window, then those half a window around it, and removes the rest.
  draw() {
    const height = window.innerHeight;
    const boxes = this.sections.map((section) => section.box.getBoundingClientRect());
    const range = (section, { top, bottom }, margin) => {
      if (bottom < -margin || top > height + margin) return [0, 0];
      const row = (y) => Math.max(0, (y - top) / this.step);
      const last = Math.ceil(row(height + margin)) * this.columns;
      return [Math.floor(row(-margin)) * this.columns, Math.min(section.images.length, last)];
    };
    let room = AT_ONCE;
    for (const margin of [0, height / 2]) {
      this.sections.forEach((section, n) => {
        const [first, last] = range(section, boxes[n], margin);
        for (let at = first; at < last && room > 0; at++) {
          if (section.cells.has(at)) continue;
          section.box.append(this.cellAt(section, at));
          room--;
        }
      });
    }
    this.sections.forEach((section, n) => this.clear(section, ...range(section, boxes[n], height / 2)));
    if (room <= 0) redraw();
  }

  clear(section, first, last) {
    for (const [at, cell] of section.cells) {
      if ((at < first || at >= last) && cell !== document.activeElement) {
        cell.remove();
        section.cells.delete(at);
      }
    }
    const list = { role: "listbox", "aria-multiselectable": "true", "aria-label": section.label };
    for (const [name, value] of Object.entries(list)) {
      if (section.cells.size) section.box.setAttribute(name, value);
      else section.box.removeAttribute(name);
    }
    if (section.cells.size)
      this.stop(section, section.cells.has(section.at) ? section.at : Math.min(...section.cells.keys()));
  }

  cellAt(section, at) {
    const i = section.images[at];
    const cell = make(
      "div",
      {
        class: isOutlier(i) ? "image outlier" : "image",
        role: "option",
        "data-image": i,
        "data-at": at,
        title: data.names[i],
        "aria-label": data.names[i],
        "aria-selected": state.selected.has(i),
        "aria-posinset": at + 1,
        "aria-setsize": section.images.length,
        tabindex: -1,
      },
      picture(i),
    );
    cell.style.left = `${(at % this.columns) * this.step}px`;
    cell.style.top = `${Math.floor(at / this.columns) * this.step}px`;
    cell.style.width = cell.style.height = `${this.cell}px`;
    section.cells.set(at, cell);
    return cell;
  }

  // Makes one cell of a section the one that Tab comes to.
  stop(section, at) {
    const [before, cell] = [section.stop, at].map((index) => section.cells.get(index));
    if (before) before.tabIndex = -1;
    if (cell) cell.tabIndex = 0;
    section.stop = at;
  }

  click(section, at, event) {
    const from = section.at;
    section.cells.get(at).focus({ preventScroll: true });
    if (event.shiftKey) select(section.images.slice(Math.min(from, at), Math.max(from, at) + 1), true);
    else select([section.images[at]]);
  }

  key(section, event) {
    const { at } = section;
    const last = section.images.length - 1;
    const sideways = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last };
    const steps = { ...sideways, ArrowDown: at + this.columns, ArrowUp: at - this.columns };
    if (event.key in steps) this.go(section, Math.max(0, Math.min(last, steps[event.key])));
    else if (event.key === " " || event.key === "Enter") select([section.images[at]]);
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) select(section.images, true);
    else return;
    event.preventDefault();
  }

  go(section, at) {
    const top = section.box.getBoundingClientRect().top + Math.floor(at / this.columns) * this.step;
    if (top < 150 || top + this.cell > window.innerHeight - 90) window.scrollBy(0, top - window.innerHeight / 2);
    if (!section.cells.has(at)) section.box.append(this.cellAt(section, at));
    section.cells.get(at).focus({ preventScroll: true });
    this.draw();
  }

  // Shows a changed selection.
  mark() {
    for (const { cells } of this.sections) {
      for (const cell of cells.values())
        cell.setAttribute("aria-selected", state.selected.has(Number(cell.dataset.image)));
    }
  }
}

let grid = null;
let drawing = 0;
function redraw() {
  drawing ||= requestAnimationFrame(() => {
    drawing = 0;
    grid?.draw();
  });
}
window.addEventListener("scroll", redraw, { passive: true });
