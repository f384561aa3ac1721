// Sections of images, laid out by the style. Cells are added a few milliseconds a frame, so that no task takes long.
const CELLS = 60; // added at a time
const FIRST = 40; // milliseconds in which cells are added before the page is shown, and
const LATER = 12; // in each frame after that
const PRINTED = 42; // images of each section on paper, rows of 7 on A4 and letter

class Grid {
  // sections: {key, heading: element, label, images: [index], size, caption: index -> text, null for none}
  constructor(host, sections) {
    this.sections = sections.map((section) => this.section(section));
    host.replaceChildren(...this.sections.map((section) => section.element));
    this.fill(FIRST);
  }

  section({ key, heading, label, images, size, caption }) {
    const list = { role: "listbox", "aria-multiselectable": "true", "aria-label": label };
    const box = make("div", { class: "images", ...(images.length ? list : {}) });
    const printed = Math.min(images.length, PRINTED);
    const rest = `the first ${printed} here, and ${decimal(size - printed)} more`;
    if (printed < size) heading.append(make("small", { class: "printed" }, rest));
    const element = make("section", { class: "group", "data-group": key, "aria-label": label }, heading, box);
    const section = { element, box, images, caption, cells: [], at: 0 };
    const on = (name, listener) =>
      box.addEventListener(name, (event) => {
        const cell = event.target.closest(".image");
        if (cell) listener(event, Number(cell.dataset.at), Number(cell.dataset.image));
      });
    on("click", (event, at) => this.click(section, at, event));
    on("focusin", (_, at, image) => {
      this.stop(section, at);
      showDetails(image);
    });
    on("pointerover", (event, _, image) => event.pointerType === "mouse" && showDetails(image));
    box.addEventListener("keydown", (event) => this.key(section, event));
    box.addEventListener("pointerleave", () => showDetails(null));
    return section;
  }

  // Adds cells for some milliseconds, and the rest in the frames that follow.
  fill(milliseconds) {
    const end = performance.now() + milliseconds;
    for (const section of this.sections) {
      const { box, caption, cells, images } = section;
      while (cells.length < images.length) {
        if (performance.now() > end) return requestAnimationFrame(() => grid === this && this.fill(LATER));
        const some = images.slice(cells.length, cells.length + CELLS);
        const next = some.map((i, n) => this.cell(i, cells.length + n, caption?.(i)));
        box.append(...next);
        cells.push(...next);
      }
    }
  }

  cell(i, at, caption) {
    const classes = ["image", isOutlier(i) && "outlier", at >= PRINTED && "unprinted"];
    return make(
      "div",
      {
        class: classes.filter(Boolean).join(" "),
        role: "option",
        "data-image": i,
        "data-at": at,
        title: data.names[i],
        "aria-label": caption ? `${data.names[i]}, ${caption}` : data.names[i],
        "data-caption": caption,
        "aria-selected": state.selected.has(i),
        tabindex: at ? -1 : 0,
      },
      picture(i, at >= PRINTED),
    );
  }

  // Makes one cell of a section the one that Tab comes to.
  stop(section, at) {
    section.cells[section.at].tabIndex = -1;
    section.cells[at].tabIndex = 0;
    section.at = at;
  }

  click(section, at, event) {
    const from = section.at;
    section.cells[at].focus({ preventScroll: true });
    if (event.shiftKey) select(section.images.slice(Math.min(from, at), Math.max(from, at) + 1), true);
    else select([section.images[at]]);
  }

  key(section, event) {
    const { at, cells, images } = section;
    const last = images.length - 1;
    const columns = getComputedStyle(section.box).gridTemplateColumns.split(" ").length;
    const sideways = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last };
    const steps = { ...sideways, ArrowDown: at + columns, ArrowUp: at - columns };
    if (event.key in steps) {
      this.fill(Infinity);
      cells[Math.max(0, Math.min(last, steps[event.key]))].focus();
    } else if (event.key === " " || event.key === "Enter") select([images[at]]);
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) select(images, true);
    else return;
    event.preventDefault();
  }

  // Shows a changed selection.
  mark() {
    for (const { cells } of this.sections) {
      for (const cell of cells) {
        const selected = String(state.selected.has(Number(cell.dataset.image)));
        if (cell.getAttribute("aria-selected") !== selected) cell.setAttribute("aria-selected", selected);
      }
    }
  }
}

let grid = null;
window.addEventListener("beforeprint", () => grid?.fill(Infinity));
