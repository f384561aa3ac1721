// Groups of images, of which those near the window are there as elements; the rest is room.
const GAP = 6,
  SMALLEST = 96,
  AT_ONCE = 24;

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
    box.addEventListener("click", (event) => this.click(section, event));
    box.addEventListener("keydown", (event) => this.key(section, event));
    box.addEventListener("focusin", (event) => this.focused(section, event));
    box.addEventListener("pointerover", (event) => {
      const cell = event.target.closest(".image");
      if (cell && event.pointerType === "mouse") showDetails(Number(cell.dataset.image));
    });
    box.addEventListener("pointerleave", () => showDetails(null));
    return section;
  }

  measure() {
    this.width = this.host.clientWidth;
    this.columns = Math.max(1, Math.floor((this.width + GAP) / (SMALLEST + GAP)));
    this.cell = (this.width - GAP * (this.columns - 1)) / this.columns;
    this.step = this.cell + GAP;
    for (const section of this.sections) {
      const rows = Math.ceil(section.images.length / this.columns);
      section.box.style.height = `${Math.max(0, rows * this.step - GAP)}px`;
      for (const cell of section.cells.values()) cell.remove();
      section.cells.clear();
    }
    this.draw();
  }

  // The cells within the window, then those half a window around it, some in each frame so that none takes long.
  draw() {
    const high = window.innerHeight,
      tops = this.sections.map((section) => section.box.getBoundingClientRect());
    const range = (section, { top, bottom }, around) => {
      if (bottom < -around || top > high + around) return [0, 0];
      const row = (y) => Math.max(0, (y - top) / this.step);
      return [
        Math.floor(row(-around)) * this.columns,
        Math.min(section.images.length, Math.ceil(row(high + around)) * this.columns),
      ];
    };
    let room = AT_ONCE;
    for (const around of [0, high / 2]) {
      this.sections.forEach((section, n) => {
        const [first, last] = range(section, tops[n], around);
        room -= this.fill(section, first, last, room);
      });
    }
    this.sections.forEach((section, n) => this.clear(section, ...range(section, tops[n], high / 2)));
    if (room <= 0) redraw();
  }

  // Adds the cells of a range that are missing, at most `room`; returns how many.
  fill(section, first, last, room) {
    const added = document.createDocumentFragment();
    let number = 0;
    for (let at = first; at < last && number < room; at++) {
      if (section.cells.has(at)) continue;
      added.append(this.cellAt(section, at));
      number++;
    }
    if (number) section.box.append(added);
    return number;
  }

  clear(section, first, last) {
    for (const [at, cell] of section.cells) {
      if ((at < first || at >= last) && cell !== document.activeElement) {
        cell.remove();
        section.cells.delete(at);
      }
    }
    if (section.cells.size) {
      const names = { role: "listbox", "aria-multiselectable": "true", "aria-label": section.label };
      for (const [name, value] of Object.entries(names)) section.box.setAttribute(name, value);
      this.stop(section, section.cells.has(section.at) ? section.at : Math.min(...section.cells.keys()));
    } else for (const name of ["role", "aria-multiselectable", "aria-label"]) section.box.removeAttribute(name);
  }

  cellAt(section, at) {
    const i = section.images[at];
    const cell = make(
      "div",
      {
        class: isFar(i) ? "image far" : "image",
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

  // The one cell of a section that Tab comes to.
  stop(section, at) {
    if (section.stop === at && section.cells.get(at)?.tabIndex === 0) return;
    const before = section.cells.get(section.stop);
    if (before) before.tabIndex = -1;
    section.stop = at;
    const cell = section.cells.get(at);
    if (cell) cell.tabIndex = 0;
  }

  focused(section, event) {
    const cell = event.target.closest(".image");
    if (!cell) return;
    section.at = Number(cell.dataset.at);
    this.stop(section, section.at);
    showDetails(Number(cell.dataset.image));
  }

  click(section, event) {
    const cell = event.target.closest(".image");
    if (!cell) return;
    const at = Number(cell.dataset.at),
      from = section.at;
    cell.focus({ preventScroll: true });
    if (event.shiftKey) select(section.images.slice(Math.min(from, at), Math.max(from, at) + 1), true);
    else select([section.images[at]]);
  }

  key(section, event) {
    const last = section.images.length - 1,
      at = section.at;
    const to = {
      ArrowRight: at + 1,
      ArrowLeft: at - 1,
      ArrowDown: at + this.columns,
      ArrowUp: at - this.columns,
      Home: 0,
      End: last,
    }[event.key];
    if (to !== undefined) this.go(section, Math.max(0, Math.min(last, to)));
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

  // After the selection has changed.
  mark() {
    for (const { cells } of this.sections) {
      for (const cell of cells.values())
        cell.setAttribute("aria-selected", state.selected.has(Number(cell.dataset.image)));
    }
  }
}

let grid = null,
  drawing = 0;
function redraw() {
  drawing ||= requestAnimationFrame(() => {
    drawing = 0;
    grid?.draw();
  });
}
window.addEventListener("scroll", redraw, { passive: true });
